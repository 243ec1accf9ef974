"""What the agent and the model server agree on beyond KServe v2."""

CANARY_TOKEN_VARIABLE = "MODELYARD_CANARY_TOKEN"
"""In the environment of a server: a secret of its agent's, which the agent's probes have for their request id.

They run beside the others, and are not in the statistics. Where it is not set, or empty, no request is a probe.
"""
