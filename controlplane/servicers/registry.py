"""RegistryService: messages to and from the registry, nothing more. Its methods stand in a file for each concern."""

from controlplane.servicers.registry_aliases import AliasMethods
from controlplane.servicers.registry_files import FileMethods
from controlplane.servicers.registry_lineage import LineageMethods
from controlplane.servicers.registry_versions import VersionMethods
from modelyard.v1 import registry_pb2_grpc


class RegistryServicer(
    FileMethods, VersionMethods, AliasMethods, LineageMethods, registry_pb2_grpc.RegistryServiceServicer
):
    """All of RegistryService over one Registry."""
