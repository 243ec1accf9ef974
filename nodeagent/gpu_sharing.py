"""Shares of GPUs in one agent's life: how they are to be had with these settings, and what the controller is told."""

from collections.abc import Callable

from modelyard.v1 import resources_pb2
from nodeagent.data_folder import DataFolder
from nodeagent.devices.gpu_shares import find_mps_reason, offered_shares
from nodeagent.devices.mps_access import MpsAccess
from nodeagent.devices.mps_daemon import MpsTimes
from nodeagent.devices.mps_state import MpsLimits
from nodeagent.settings import AgentSettings

# A daemon waits for its clients a little longer than they have to leave.
_MARGIN_S = 10.0


def open_gpus(settings: AgentSettings, folder: DataFolder, resources: resources_pb2.NodeResources) -> MpsAccess:
    """To the GPUs that `resources` offers. MPS is watched as often as replicas are, and has as long to answer."""
    replicas = settings.replica_limits()
    limits = MpsLimits(
        check_interval_s=settings.probe_interval_s,
        drain_s=replicas.leave_routes_s + replicas.drain_timeout_s + _MARGIN_S,
    )
    times = MpsTimes(answer_s=settings.probe_timeout_s)
    return MpsAccess([gpu.uuid for gpu in resources.gpus], folder.mps, limits, times)


def follow_shares(
    access: MpsAccess,
    settings: AgentSettings,
    resources: resources_pb2.NodeResources,
    announce: Callable[[resources_pb2.NodeResources], None],
) -> None:
    """From now on `announce` is given `resources` anew whenever a GPU is shared no more, or can be shared again."""

    def tell() -> None:
        for gpu in resources.gpus:
            reason = find_mps_reason() or access.why_unusable(gpu.uuid)
            shares, whole_because = offered_shares(gpu, settings, reason)
            gpu.shares[:] = shares
            gpu.whole_because = whole_because
        announce(resources)

    access.on_change = tell
