"""What the agent and the model server agree on beyond KServe v2."""

CANARY_ID = "modelyard-canary"
"""The request id of the agent's probes: they run beside the others, and are not in the statistics."""
