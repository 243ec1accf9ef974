"""A model whose operators the runtime lacks is refused, with the operator's name and a way out."""

from typing import Any

import pytest
from onnx import helper

from controlplane.registry.formats.onnx_operators import refuse_missing_operators
from modelyard.errors import InvalidArgumentError
from tests.harness.onnx_pieces import make_model, tensor


def node(op_type: str, domain: str = "", **attributes: Any) -> Any:
    return helper.make_node(op_type, ["x"], ["y"], domain=domain, **attributes)


def model_of(*nodes: Any, opset: int = 17, **domains: int) -> Any:
    model = make_model(nodes=list(nodes))
    del model.opset_import[:]
    imports = {"": opset} | {name.replace("_", "."): version for name, version in domains.items()}
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in imports.items())
    return model


def function(name: str, *nodes: Any, domain: str = "mine") -> Any:
    return helper.make_function(domain, name, ["x"], ["y"], list(nodes), [helper.make_opsetid("", 17)])


@pytest.mark.parametrize(
    "good",
    [
        model_of(node("Relu")),
        model_of(node("Relu", "ai.onnx")),
        model_of(node("FastGelu", "com.microsoft"), com_microsoft=1),
        model_of(node("Binarizer", "ai.onnx.ml"), ai_onnx_ml=3),
        model_of(node("Mish"), opset=22),  # has no kernel: it is a function of others
        model_of(node("Constant", value_int=1), opset=13),
        model_of(node("Relu"), unused_domain=1),
    ],
)
def test_what_runs_is_taken(good: Any) -> None:
    refuse_missing_operators(good)


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (model_of(node("NoSuchOperator")), r"'NoSuchOperator' of the domain 'ai\.onnx' \(opset 17\).*does not have"),
        (model_of(node("Mish"), opset=17), r"'Mish'.*does not have; export it with an opset from 22 on"),
        (model_of(node("GlobalLpPool"), opset=22), r"cannot run on a CPU; export it with an opset from 2 to 21"),
        (model_of(node("MyOp", "my.lab"), my_lab=1), r"'MyOp' of the domain 'my\.lab'.*does not know.*function"),
        (model_of(node("Rfft", "com.microsoft"), com_microsoft=1), r"'Rfft'.*cannot run on a CPU; replace it"),
        (model_of(node("Relu"), opset=999), r"opset 999 of ai\.onnx.*opset_version="),
    ],
)
def test_what_does_not_run_is_named_with_a_way_out(bad: Any, told: str) -> None:
    with pytest.raises(InvalidArgumentError, match=told):
        refuse_missing_operators(bad)


def test_a_newer_ir_version_is_refused() -> None:
    model = model_of(node("Relu"))
    model.ir_version = 99
    with pytest.raises(InvalidArgumentError, match=r"IR version 99.*model\.ir_version ="):
        refuse_missing_operators(model)


def test_branches_are_looked_into() -> None:
    branch = helper.make_graph([helper.make_node("NoSuchOperator", [], ["b"])], "branch", [], [tensor("b")])
    with pytest.raises(InvalidArgumentError, match="NoSuchOperator"):
        refuse_missing_operators(model_of(node("If", then_branch=branch, else_branch=branch)))


def test_a_models_own_functions_are_looked_into_where_they_are_used() -> None:
    model = model_of(node("Outer", "mine"), mine=1)
    model.functions.extend([function("Outer", node("Inner", "mine")), function("Inner", node("Relu"))])
    model.functions.append(function("Unused", node("NoSuchOperator")))
    refuse_missing_operators(model)
    model.functions[1].node[0].op_type = "NoSuchOperator"
    with pytest.raises(InvalidArgumentError, match="NoSuchOperator"):
        refuse_missing_operators(model)


def test_functions_that_use_each_other_come_to_an_end() -> None:
    model = model_of(node("A", "mine"), mine=1)
    model.functions.extend([function("A", node("B", "mine")), function("B", node("A", "mine"))])
    refuse_missing_operators(model)
