"""What `benchmarks/registry.py` asks of a registry: of its store, and of a controller over gRPC. Each call once."""

import hashlib
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, Self

import grpc
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.registry_content import VERSIONS_EACH, make_draft, model_name
from controlplane.domain import Alias, Author
from controlplane.registry.filter_language import parse_filter, parse_order
from controlplane.registry.store import RegistryStore
from controlplane.registry.version_query import VersionQuery
from modelyard.resource_names import alias_name
from modelyard.v1 import registry_pb2 as pb
from modelyard.v1 import registry_pb2_grpc

FILTER = 'metrics.accuracy > 0.9 and tags.team = "vision" and format = onnx'
RARE = 'tags.ticket = "T-77"'
ORDER = "metrics.accuracy desc"


class Target(Protocol):
    operations: Mapping[str, Callable[[], Any]]


class _Choices:
    """The same for each registry, save for the models that it has."""

    def __init__(self, models: int) -> None:
        self._chance = random.Random(1)
        self._models = models
        self._new = itertools.count(1)
        self._moves = itertools.count()
        self._moved: deque[str] = deque()

    def model(self) -> str:
        return model_name(self._chance.randrange(self._models))

    def number(self) -> int:
        return self._chance.randint(1, VERSIONS_EACH)

    def new(self) -> int:
        return next(self._new)

    def move(self) -> tuple[str, int]:
        """A model, and a version that its alias does not point to."""
        count = next(self._moves)
        self._moved.append(model_name(count % self._models))
        return self._moved[-1], count % (VERSIONS_EACH - 1) + 1

    def rollback(self) -> str:
        """A model whose alias was moved, each move once."""
        return self._moved.popleft()


class StoreTarget:
    """`page_size`: what a list is asked for: as many as the registry has models, or fewer."""

    def __init__(self, store: RegistryStore, models: int, page_size: int) -> None:
        self._store, self._choices, self._page_size = store, _Choices(models), page_size
        self.operations: Mapping[str, Callable[[], Any]] = {
            "register": self._register,
            "get": lambda: store.get_version(self._choices.model(), self._choices.number()),
            "list models": lambda: store.list_models(self._page_size, ""),
            "list versions": lambda: self._find(VersionQuery()),
            "list one model": lambda: self._find(VersionQuery(self._choices.model())),
            "find, example": lambda: self._find(VersionQuery(filter=parse_filter(FILTER))),
            "find, rare": lambda: self._find(VersionQuery(filter=parse_filter(RARE))),
            "order by metric": lambda: self._find(VersionQuery(order=parse_order(ORDER))),
            "alias move": self._move,
            "rollback": self._roll_back,
            "history": lambda: store.list_moves(self._choices.model(), "", self._page_size, ""),
        }

    def _register(self) -> None:
        self._store.create_version(make_draft("new", self._choices.new()), datetime.now(UTC))

    def _find(self, query: VersionQuery) -> None:
        self._store.list_versions(query, self._page_size, "")

    def _move(self) -> None:
        model, number = self._choices.move()
        self._store.set_alias(Alias(model, "production", number, datetime.now(UTC), "kim", "better"))

    def _roll_back(self) -> None:
        author = Author(datetime.now(UTC), "kim", "worse")
        self._store.roll_back_alias(self._choices.rollback(), "production", author)


class GrpcTarget:
    """As StoreTarget. Use it in `with`."""

    def __init__(self, address: str, models: int, page_size: int) -> None:
        self._channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        self._stub: Any = registry_pb2_grpc.RegistryServiceStub(self._channel)
        self._choices, self._page_size = _Choices(models), page_size
        stub = self._stub
        self.operations: Mapping[str, Callable[[], Any]] = {
            "register": self._register,
            "get": lambda: stub.GetVersion(pb.GetVersionRequest(name=self._version_name())),
            "list models": lambda: stub.ListModels(pb.ListModelsRequest(page_size=self._page_size)),
            "list versions": lambda: self._find("models/-"),
            "list one model": lambda: self._find(f"models/{self._choices.model()}"),
            "find, example": lambda: self._find("models/-", filter_=FILTER),
            "find, rare": lambda: self._find("models/-", filter_=RARE),
            "order by metric": lambda: self._find("models/-", order_by=ORDER),
            "alias move": self._move,
            "rollback": self._roll_back,
            "history": lambda: stub.ListAliasMoves(
                pb.ListAliasMovesRequest(parent=f"models/{self._choices.model()}", page_size=self._page_size)
            ),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def _version_name(self) -> str:
        return f"models/{self._choices.model()}/versions/{self._choices.number()}"

    def _find(self, parent: str, filter_: str = "", order_by: str = "") -> None:
        request = pb.ListVersionsRequest(parent=parent, page_size=self._page_size, filter=filter_, order_by=order_by)
        self._stub.ListVersions(request)

    def _move(self) -> None:
        model, number = self._choices.move()
        name = alias_name(model, "production")
        self._stub.SetAlias(pb.SetAliasRequest(name=name, version=number, user="kim", reason="better"))

    def _roll_back(self) -> None:
        name = alias_name(self._choices.rollback(), "production")
        self._stub.RollbackAlias(pb.RollbackAliasRequest(name=name, user="kim", reason="worse"))

    def _register(self) -> None:
        content = make_onnx(self._choices.new())
        header = pb.CreateVersionRequest.Header(
            parent="models/new", size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        header.metrics["accuracy"] = 0.5

        def messages() -> Iterator[pb.CreateVersionRequest]:
            yield pb.CreateVersionRequest(header=header)
            yield pb.CreateVersionRequest(chunk=content)

        self._stub.CreateVersion(messages())


def make_onnx(number: int) -> bytes:
    """A model of four numbers, another for each `number`."""
    kind = TensorProto.FLOAT
    weights = numpy_helper.from_array(np.array([number], np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "w"], ["y"])],
        "model",
        [helper.make_tensor_value_info("x", kind, ["b", 4])],
        [helper.make_tensor_value_info("y", kind, ["b", 4])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
