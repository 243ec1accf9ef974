"""What a saved_model.pb tells without TensorFlow, and which of them cannot be served."""

from collections.abc import Collection

import pytest

from controlplane.domain import SavedModelDetails, Signature, TensorSpec
from controlplane.registry.formats.protobuf_wire import CutOffError, WireError
from controlplane.registry.formats.savedmodel_file import is_saved_model, read_meta_graphs
from controlplane.registry.formats.savedmodel_signature import compute_details
from modelyard.errors import InvalidArgumentError
from tests.harness.onnx_pieces import linear_bytes
from tests.harness.savedmodel_pieces import (
    COMPLEX64,
    FLOAT,
    FLOAT_REFERENCE,
    INT64,
    STRING,
    X,
    Y,
    field,
    meta_graph,
    saved_model,
    signature,
)

SERVED = Signature((TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "FP32", (-1, 2)),))
VARIABLES = ("variables/variables.index", "variables/variables.data-00000-of-00001")


def details(*graphs: bytes, files: Collection[str] = VARIABLES) -> SavedModelDetails:
    return compute_details(read_meta_graphs(memoryview(saved_model(*graphs))), files)


def test_the_default_signature_is_served_and_the_others_are_kept() -> None:
    other = signature({"b": (INT64, ()), "a": (FLOAT_REFERENCE, (2, -1))}, Y)
    found = details(meta_graph({"serving_default": signature(), "other": other}))
    a, b = TensorSpec("a", "FP32", (2, -1)), TensorSpec("b", "INT64", ())
    assert found == SavedModelDetails(
        "2.21.0", ("serve",), {"serving_default": SERVED, "other": Signature((a, b), SERVED.outputs)}, "serving_default"
    )


def test_an_only_signature_is_served_under_any_name() -> None:
    found = details(meta_graph({"predict": signature(), "__saved_model_init_op": b"", "__saved_model_train_op": b""}))
    assert found.served_signature == "predict"


def test_a_signature_beside_the_served_one_may_be_beyond_words() -> None:
    odd = signature({"x": (FLOAT, None)}, Y)
    assert set(details(meta_graph({"serving_default": signature(), "odd": odd})).signatures) == {"serving_default"}


def test_the_graph_for_serving_is_chosen_among_those_for_other_hardware() -> None:
    tpu = meta_graph({"serving_default": signature({"t": (FLOAT, ())}, Y)}, tags=["serve", "tpu"])
    assert details(meta_graph(tags=["train"]), tpu, meta_graph()).signatures["serving_default"] == SERVED


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        (meta_graph(tags=["train"]), r"no graph with the tag 'serve', only \['train'\]"),
        (meta_graph({}), "no signature, so not even 'serving_default'"),
        (meta_graph({"a": signature(), "b": signature()}), "signatures 'a', 'b', none of them 'serving_default'"),
        (meta_graph({"serving_default": signature({}, Y)}), "no inputs"),
        (meta_graph({"serving_default": signature(X, {})}), "no outputs"),
        (meta_graph({"serving_default": signature({"t": (STRING, (-1,))})}), "input 't'.*is a string, and OpenVINO"),
        (meta_graph({"serving_default": signature(X, {"t": (STRING, (-1,))})}), "output 't'.*is a string"),
        (meta_graph({"serving_default": signature({"t": (STRING + 100, ())})}), "is a string"),
        (meta_graph({"serving_default": signature({"c": (COMPLEX64, ())})}), "type number 8.*cast"),
        (meta_graph({"serving_default": signature({"x": (FLOAT, None)})}), r"no shape.*tf\.TensorSpec"),
        (meta_graph({"serving_default": signature({"a\0": (FLOAT, ())})}), "no printable name"),
        (
            meta_graph({"serving_default": field(1, field(1, "s") + field(2, field(4, b"") + field(2, FLOAT)))}),
            "'s'.*is sparse",
        ),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(graph: bytes, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        details(graph)


@pytest.mark.parametrize(
    "graph",
    [
        meta_graph(ops=["Placeholder", "VarHandleOp"]),
        meta_graph(ops=["VariableV2"]),
        meta_graph(function_ops=["VarHandleOp"]),
    ],
)
def test_variables_have_to_be_there_where_the_graph_has_some(graph: bytes) -> None:
    details(graph)
    details(graph, files=(*VARIABLES[:1], *(f"variables/variables.data-0000{n}-of-00002" for n in (0, 1))))
    for lacking in ((), VARIABLES[:1], VARIABLES[1:], (VARIABLES[0], "variables/variables.data-00001-of-00002")):
        with pytest.raises(InvalidArgumentError, match=r"has variables, and .* is not there, or not whole"):
            details(graph, files=lacking)


def test_a_graph_without_variables_needs_none() -> None:
    details(meta_graph(ops=["MatMul"]), files=())


def test_a_large_constant_is_not_looked_into() -> None:
    node = field(1, field(2, "Const") + field(5, bytes(10 << 20)))
    assert details(meta_graph() + field(2, node)).served_signature == "serving_default"


def test_every_cut_is_seen() -> None:
    content = saved_model(meta_graph(ops=["VarHandleOp"]))
    for size in range(3, len(content)):
        with pytest.raises(CutOffError):
            read_meta_graphs(memoryview(content[:size]))


@pytest.mark.parametrize(
    "content",
    [
        saved_model(b"\x0a\x7f"),  # its inner length reaches beyond it
        saved_model(field(1, field(4, b"\xff\xfe"))),  # a tag that is no text
        field(2, b"\x00"),
    ],
)
def test_damage_is_no_cut(content: bytes) -> None:
    with pytest.raises(WireError) as caught:
        read_meta_graphs(memoryview(content))
    assert not isinstance(caught.value, CutOffError)


def test_a_saved_model_is_told_from_an_onnx_model() -> None:
    assert is_saved_model(memoryview(saved_model()))
    assert not is_saved_model(memoryview(linear_bytes()))
    assert not is_saved_model(memoryview(b"\x08\x01\x12\x02\x0a\x00"))
    assert not is_saved_model(memoryview(b"\x08"))
