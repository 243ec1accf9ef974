"""RegistryService: where a version came from, and what it went through."""

import asyncio
from typing import Any

from controlplane.registry.lineage_graph import Graph, Node, NodeKind
from controlplane.servicers.converters import timestamp_to_proto
from controlplane.servicers.registry_base import RegistryMethods
from modelyard.resource_names import parse_version_name
from modelyard.v1 import registry_pb2 as pb

_KINDS = {
    NodeKind.ARTIFACT: pb.GetLineageResponse.Node.ARTIFACT,
    NodeKind.EXECUTION: pb.GetLineageResponse.Node.EXECUTION,
    NodeKind.CONTEXT: pb.GetLineageResponse.Node.CONTEXT,
}


class LineageMethods(RegistryMethods):
    async def GetLineage(self, request: pb.GetLineageRequest, context: Any) -> pb.GetLineageResponse:
        model, number = parse_version_name(request.name)
        await asyncio.to_thread(self._store.get_version, model, number)  # which tells what there is where it is not
        pending = await asyncio.to_thread(self._store.count_unrecorded, model, number)
        graph = await asyncio.wrap_future(self._registry.lineage.submit_read(model, number))
        return _graph_to_proto(graph, pending)


def _graph_to_proto(graph: Graph, pending: int) -> pb.GetLineageResponse:
    return pb.GetLineageResponse(
        version_id=graph.version_id,
        nodes=map(_node_to_proto, graph.nodes),
        edges=[pb.GetLineageResponse.Edge(from_id=edge.from_id, to_id=edge.to_id) for edge in graph.edges],
        pending=pending,
        left_out=graph.left_out,
    )


def _node_to_proto(node: Node) -> pb.GetLineageResponse.Node:
    return pb.GetLineageResponse.Node(
        id=node.id,
        kind=_KINDS[node.kind],
        type=node.type,
        name=node.name,
        uri=node.uri,
        properties=node.properties,
        time=timestamp_to_proto(node.time),
    )
