"""OpenVINO behind its wrapper: TensorFlow's own answers, every type, and its errors in our words."""

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.datatypes import BY_NAME
from modelyard.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError
from modelyard.tensors import Array
from nodeagent.modelserver.openvino_errors import shorten
from nodeagent.modelserver.openvino_session import OpenVinoSession, ov
from tests.harness.savedmodels import SERVABLE, load_reference, savedmodel

NUMBERS = [name for name in BY_NAME if name != "BYTES"]


def load(name: str, threads: int = 1) -> OpenVinoSession:
    reference = load_reference(name)
    keys = {"inputs": list(reference.inputs), "outputs": list(reference.outputs)}
    return OpenVinoSession(savedmodel(name), threads=threads, **keys)


@pytest.mark.parametrize("name", SERVABLE)
def test_the_answers_are_tensorflows(name: str) -> None:
    session, reference = load(name), load_reference(name)
    names = list(reference.outputs)
    for _ in range(2):  # the second one in memory that was used before
        for output, wanted in zip(session.run(names, reference.inputs), reference.outputs.values(), strict=True):
            assert output.dtype == wanted.dtype and output.shape == wanted.shape
            np.testing.assert_allclose(output, wanted, rtol=1e-5, atol=1e-5)


def test_the_signature_has_the_keys_types_and_shapes_of_the_served_one() -> None:
    signature = load("two_in_two_out").signature
    assert {spec.name: (spec.datatype.name, spec.shape) for spec in signature.inputs} == {
        "values": ("FP32", (-1, 4)),
        "counts": ("INT64", (-1, 1)),
    }
    assert {spec.name: (spec.datatype.name, spec.shape) for spec in signature.outputs} == {
        "scaled": ("FP32", (-1, 3)),
        "doubled": ("INT64", (-1, 1)),
    }


def test_without_keys_the_signature_is_what_openvino_finds() -> None:
    signature = OpenVinoSession(savedmodel("cnn"), threads=1).signature
    assert [spec.name for spec in signature.inputs] == ["image"]
    assert [spec.name for spec in signature.outputs] == ["output_0"]


def test_only_what_is_asked_for_is_returned_in_its_order() -> None:
    session, reference = load("two_in_two_out"), load_reference("two_in_two_out")
    [doubled] = session.run(["doubled"], reference.inputs)
    assert doubled.tolist() == reference.outputs["doubled"].tolist()
    again, scaled = session.run(["doubled", "scaled"], reference.inputs)
    assert (again.shape, scaled.shape) == ((3, 1), (3, 3))


@pytest.mark.parametrize("rows", [1, 17, 2])
def test_a_batch_of_any_size(rows: int) -> None:
    session, reference = load("cnn"), load_reference("cnn")
    image = np.repeat(reference.inputs["image"][:1], rows, axis=0)
    [output] = session.run(["output_0"], {"image": image})
    assert output.shape == (rows, 5)
    np.testing.assert_allclose(output, np.repeat(reference.outputs["output_0"][:1], rows, axis=0), atol=1e-5)


def test_an_answer_stays_as_it_is_while_the_next_is_computed() -> None:
    session = load("multi_signature")
    [first] = session.run(["y"], {"x": np.ones((1, 2), np.float32)})
    session.run(["y"], {"x": np.zeros((1, 2), np.float32)})
    assert first.tolist() == [[2, 3]]


def test_callers_at_the_same_time_get_their_own_answers() -> None:
    session = load("multi_signature")
    wrong: list[Any] = []

    def call(number: int) -> None:
        for rows in range(1, 40):
            [output] = session.run(["y"], {"x": np.full((rows, 2), number, np.float32)})
            if output.tolist() != [[2.0 * number, 3.0 * number]] * rows:
                wrong.append((number, rows, output))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_type_goes_in_and_out(datatype: str, tmp_path: Path) -> None:
    session = load_identity(tmp_path, datatype)
    assert session.signature.inputs[0].datatype.name == session.signature.outputs[0].datatype.name == datatype
    dtype = BY_NAME[datatype].dtype
    array = np.array([[0x3F80, 0xC000, 0]] if datatype == "BF16" else [[0, 1, 1]]).astype(dtype)
    [output] = session.run(["y"], {"x": array})
    assert output.dtype == dtype and output.tolist() == array.tolist()


def test_a_failure_that_no_shape_foretells_leaves_nothing_behind(tmp_path: Path) -> None:
    session = load_reshape(tmp_path)
    for _ in range(3):
        [output] = session.run(["y"], {"x": np.ones((3, 2), np.float32), "shape": np.array([2, 3])})
        assert output.tolist() == [[2, 2, 2], [2, 2, 2]]
        with pytest.raises(InvalidArgumentError, match="cannot compute these inputs"):
            session.run(["y"], {"x": np.zeros((4, 2), np.float32), "shape": np.array([5, 3])})


def load_reshape(folder: Path) -> OpenVinoSession:
    """y = x * 2 in the shape that is asked for: it may fail whatever the shapes of the inputs are."""
    x = ov.opset13.parameter(ov.PartialShape([-1, 2]), ov.Type.f32, name="x")
    shape = ov.opset13.parameter(ov.PartialShape([2]), ov.Type.i64, name="shape")
    doubled = ov.opset13.multiply(x, ov.opset13.constant(np.float32(2)))
    return load_of_openvino(folder, ov.opset13.reshape(doubled, shape, special_zero=False), [x, shape])


def load_identity(folder: Path, datatype: str) -> OpenVinoSession:
    """y = x."""
    from nodeagent.modelserver.datatypes import BY_OPENVINO_TYPE

    [kind] = [name for name, known in BY_OPENVINO_TYPE.items() if known.name == datatype]
    parameter = ov.opset13.parameter(ov.PartialShape([-1, 3]), getattr(ov.Type, kind), name="x")
    return load_of_openvino(folder, parameter, [parameter])


def load_of_openvino(folder: Path, output: Any, parameters: list[Any]) -> OpenVinoSession:
    """Of an output called y: what TensorFlow, which is not here, would have to be asked for otherwise."""
    result = ov.opset13.result(output)
    result.set_friendly_name("y")
    ov.save_model(ov.Model([result], parameters), folder / "m.xml", compress_to_fp16=False)
    names = [parameter.get_friendly_name() for parameter in parameters]
    return OpenVinoSession(folder / "m.xml", threads=1, inputs=names, outputs=["y"])


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 2**40])
def test_integers_that_openvino_would_cut_are_refused(number: int) -> None:
    session = load("two_in_two_out")
    with pytest.raises(InvalidArgumentError, match=r"input 'counts' has numbers beyond .* in 32 bits"):
        session.run(["doubled"], {"values": np.ones((1, 4), np.float32), "counts": np.array([[number]])})


def test_doubles_that_openvino_would_cut_are_refused(tmp_path: Path) -> None:
    session = load_identity(tmp_path, "FP64")
    with pytest.raises(InvalidArgumentError, match=r"input 'x' has numbers beyond .* in FP32"):
        session.run(["y"], {"x": np.array([[1e300, 0, 0]])})
    [output] = session.run(["y"], {"x": np.array([[np.inf, -np.inf, 1e38]])})
    assert output.tolist() == [[np.inf, -np.inf, 1e38]]


def test_an_empty_batch_is_an_answer_or_a_refusal_and_never_a_crash() -> None:
    [output] = load("multi_signature").run(["y"], {"x": np.zeros((0, 2), np.float32)})
    assert output.shape == (0, 2)
    session = load("cnn")
    with pytest.raises(InvalidArgumentError, match="Batch size is zero"):
        session.run(["output_0"], {"image": np.zeros((0, 8, 8, 3), np.float32)})
    session.run(["output_0"], load_reference("cnn").inputs)


@pytest.mark.parametrize("threads", [1, 2])
def test_shapes_that_do_not_fit_each_other_are_the_callers_fault(threads: int) -> None:
    session = load("two_in_two_out", threads)
    good: dict[str, Array] = {"values": np.ones((3, 4), np.float32), "counts": np.ones((3, 1), np.int64)}
    for _ in range(3):
        with pytest.raises(
            InvalidArgumentError, match=r"cannot compute these inputs: operator 'mul': Argument shapes"
        ) as caught:
            session.run(["scaled"], {**good, "values": np.ones((2, 4), np.float32)})
        assert ".cpp" not in caught.value.message and "Exception" not in caught.value.message
        assert session.run(["scaled"], good)[0].shape == (3, 3)


def test_a_terminated_session_says_so() -> None:
    session = load("cnn")
    session.run(["output_0"], load_reference("cnn").inputs)
    waiting = session.begin_run()
    session.terminate()
    for run in (waiting, None):
        with pytest.raises(UnavailableError, match="stopped"):
            session.run(["output_0"], load_reference("cnn").inputs, run)


def test_a_cancelled_run_leaves_the_others_alone() -> None:
    session, reference = load("cnn"), load_reference("cnn")
    run = session.begin_run()
    run.cancel()
    with pytest.raises(UnavailableError):
        session.run(["output_0"], reference.inputs, run)
    for _ in range(3):
        session.run(["output_0"], reference.inputs)


def test_a_run_that_is_cancelled_too_late_hurts_nobody() -> None:
    session, reference = load("cnn"), load_reference("cnn")
    for _ in range(3):
        run = session.begin_run()
        session.run(["output_0"], reference.inputs, run)
        run.cancel()


def test_what_cannot_be_compiled_anew_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = load_reshape(tmp_path)
    good = {"x": np.ones((3, 2), np.float32), "shape": np.array([2, 3])}
    with pytest.raises(InvalidArgumentError):
        session.run(["y"], {**good, "shape": np.array([5, 3])})

    def refuse() -> None:
        raise RuntimeError("std::bad_alloc")

    with monkeypatch.context() as patched:
        patched.setattr(session, "_compile", refuse)
        with pytest.raises(ResourceExhaustedError, match="not enough memory"):
            session.run(["y"], good)
    assert session.run(["y"], good)[0].tolist() == [[2, 2, 2], [2, 2, 2]]


def test_an_operator_that_openvino_lacks_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"OpenVINO cannot load it: .*StringLength$"):
        OpenVinoSession(savedmodel("string_input"), threads=1)


def test_an_output_that_the_model_does_not_have_is_told() -> None:
    with pytest.raises(InvalidArgumentError, match="finds no output 'nothing'"):
        OpenVinoSession(savedmodel("cnn"), threads=1, inputs=["image"], outputs=["nothing"])


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"not a model" * 50)
    with pytest.raises(InvalidArgumentError, match=r"OpenVINO cannot load it: ."):
        OpenVinoSession(tmp_path, threads=1)


def test_threads_are_those_of_the_allocation_and_it_computes_in_fp32() -> None:
    compiled = load("cnn", threads=2)._request.get_compiled_model()
    assert compiled.get_property("NUM_STREAMS") == 1
    assert compiled.get_property("INFERENCE_NUM_THREADS") <= 2
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_what_would_report_to_its_makers_is_not_imported() -> None:
    assert not [name for name, module in sys.modules.items() if "openvino_telemetry" in name and module]


def test_error_texts_are_shortened() -> None:
    text = (
        "Exception from src/inference/src/cpp/infer_request.cpp:224:\nException from src/plugins/intel_cpu/src/node.cpp"
        ":794:\n[CPU] Add node with name 'add' Check 'input_shape[j] == 1' failed at src/plugins/a/b.cpp:52:\nEltwise"
        " shape infer input shapes dim index: 0 mismatch\n\n\n"
    )
    assert shorten(text) == "[CPU] Add node with name 'add' Eltwise shape infer input shapes dim index: 0 mismatch"
    assert shorten("x" * 1000) == "x" * 297 + "..."
