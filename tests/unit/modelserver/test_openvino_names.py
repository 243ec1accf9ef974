"""Names of a signature among those that OpenVINO gives."""

from collections.abc import Sequence

import pytest

from modelyard.errors import InvalidArgumentError
from nodeagent.modelserver.openvino_names import find_inputs, find_outputs


def test_inputs_are_found_in_the_order_of_the_signature() -> None:
    assert find_inputs(["x", "k"], ["k", "unused", "x"]) == [2, 0]


@pytest.mark.parametrize(
    ("keys", "inputs", "names", "found"),
    [
        (["y"], ["x"], ["w", "y"], [1]),
        (["b", "a"], ["a", "b"], ["w", "a_1", "b_1"], [2, 1]),
        (["x", "again"], ["x"], ["again", "x_1"], [1, 0]),
        (["y_1"], ["y"], ["y_1"], [0]),
    ],
)
def test_outputs_are_found_by_their_own_names(
    keys: Sequence[str], inputs: Sequence[str], names: Sequence[str], found: list[int]
) -> None:
    assert find_outputs(keys, inputs, names) == found


def test_an_input_that_is_not_there_is_told() -> None:
    with pytest.raises(InvalidArgumentError, match="no input 'x' in it, only 'z'"):
        find_inputs(["x"], ["z"])


def test_an_output_that_is_dropped_is_told() -> None:
    with pytest.raises(InvalidArgumentError, match="no output 'constant' in it, only 'y'"):
        find_outputs(["y", "constant"], ["x"], ["y"])


def test_outputs_that_cannot_be_told_apart_are_never_mixed_up() -> None:
    with pytest.raises(InvalidArgumentError, match="cannot tell the outputs 'x' and 'x_1'"):
        find_outputs(["x", "x_1"], ["x"], ["x_1", "x_1_1"])
