# mypy: ignore-errors
"""Makes the SavedModels of this folder, each with inputs and TensorFlow's own outputs for them.

TensorFlow and this project want different versions of protobuf, so it has an environment of its own:

    uv venv --python 3.11 /tmp/tensorflow && uv pip install --python /tmp/tensorflow/bin/python tensorflow-cpu==2.21.0
    /tmp/tensorflow/bin/python tests/data/savedmodels/make.py
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
import keras
import numpy as np
import tensorflow as tf

_HERE = Path(__file__).parent
_SIGNATURE = "serving_default"


def make_cnn(folder: Path) -> None:
    """As Keras exports it: a batch of any size."""
    image = keras.Input((8, 8, 3), name="image")
    layer = keras.layers.Conv2D(4, 3, activation="relu")(image)
    layer = keras.layers.BatchNormalization()(layer)
    layer = keras.layers.MaxPooling2D()(layer)
    layer = keras.layers.Flatten()(layer)
    probabilities = keras.layers.Dense(5, activation="softmax", name="probabilities")(layer)
    keras.Model(image, probabilities).export(folder, verbose=False)


def make_lstm(folder: Path) -> None:
    """A loop in the graph; batch and length vary."""
    sequence = keras.Input((None, 3), name="sequence")
    layer = keras.layers.LSTM(6, return_sequences=True)(sequence)
    score = keras.layers.Dense(2, name="score")(layer)
    keras.Model(sequence, score).export(folder, verbose=False)


class TwoInTwoOut(tf.Module):
    """Keys of the signature that sort otherwise than the function's arguments; integers go in and come out."""

    def __init__(self) -> None:
        self.weights = tf.Variable(np.linspace(-1, 1, 12).reshape(4, 3).astype(np.float32))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4], tf.float32, name="values"),
            tf.TensorSpec([None, 1], tf.int64, name="counts"),
        ]
    )
    def serve(self, values: tf.Tensor, counts: tf.Tensor) -> dict[str, tf.Tensor]:
        scaled = tf.matmul(values, self.weights) * tf.cast(counts, tf.float32)
        return {"scaled": scaled, "doubled": counts * 2}


def make_two_in_two_out(folder: Path) -> None:
    module = TwoInTwoOut()
    tf.saved_model.save(module, folder, {_SIGNATURE: module.serve})


class StringInput(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"length": tf.strings.length(text)}


def make_string_input(folder: Path) -> None:
    module = StringInput()
    tf.saved_model.save(module, folder, {_SIGNATURE: module.serve})


class MultiSignature(tf.Module):
    def __init__(self) -> None:
        self.scale = tf.Variable(np.array([2.0, 3.0], np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def scaled(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x * self.scale}

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x"), tf.TensorSpec([2], tf.float32, name="bias")]
    )
    def shifted(self, x: tf.Tensor, bias: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"shifted": x * self.scale + bias}


def make_multi_signature(folder: Path) -> None:
    module = MultiSignature()
    tf.saved_model.save(module, folder, {_SIGNATURE: module.scaled, "shifted": module.shifted})


class SameKeys(tf.Module):
    """Outputs that are called as inputs are, and a signature beside the served one; neither is the default."""

    @tf.function(
        input_signature=[tf.TensorSpec([None, 2], tf.float32, name="a"), tf.TensorSpec([None, 2], tf.float32, name="b")]
    )
    def swapped(self, a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"a": b * 3.0, "b": a * 2.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="z")])
    def other(self, z: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"w": z + 1.0}


def make_same_keys(folder: Path) -> None:
    module = SameKeys()
    tf.saved_model.save(module, folder, {"swapped": module.swapped, "other": module.other})


class Counting(tf.Module):
    """It takes as long as it is asked to, some microseconds for each of `n`: a loop is one operator."""

    @tf.function(input_signature=[tf.TensorSpec([1], tf.int32, name="n")])
    def serve(self, n: tf.Tensor) -> dict[str, tf.Tensor]:
        _, count = tf.while_loop(lambda i, _: i < n[0], lambda i, c: (i + 1, c + 1.0), [tf.constant(0), tf.zeros([1])])
        return {"count": count}


def make_counting(folder: Path) -> None:
    module = Counting()
    tf.saved_model.save(module, folder, {_SIGNATURE: module.serve})


def make_inputs(name: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    inputs: dict[str, dict[str, np.ndarray]] = {
        "cnn": {"image": random.standard_normal((3, 8, 8, 3), np.float32)},
        "lstm": {"sequence": random.standard_normal((2, 5, 3), np.float32)},
        "two_in_two_out": {
            "values": random.standard_normal((3, 4), np.float32),
            "counts": np.array([[1], [-2], [100_000]], np.int64),
        },
        "multi_signature": {"x": random.standard_normal((3, 2), np.float32)},
        "counting": {"n": np.array([5], np.int32)},
        "same_keys": {key: random.standard_normal((3, 2), np.float32) for key in ("a", "b")},
    }
    return inputs[name]


def make_reference(name: str, folder: Path) -> None:
    """NAME.npz beside it: "in/KEY" and "out/KEY" for each key of the signature."""
    inputs = make_inputs(name)
    signature = "swapped" if name == "same_keys" else _SIGNATURE
    outputs = tf.saved_model.load(folder).signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
    arrays = {f"in/{key}": array for key, array in inputs.items()}
    arrays |= {f"out/{key}": tensor.numpy() for key, tensor in outputs.items()}
    np.savez(folder.with_name(f"{name}.npz"), **arrays)


_MODELS: dict[str, Callable[[Path], None]] = {
    "cnn": make_cnn,
    "lstm": make_lstm,
    "two_in_two_out": make_two_in_two_out,
    "string_input": make_string_input,
    "multi_signature": make_multi_signature,
    "same_keys": make_same_keys,
    "counting": make_counting,
}


def main() -> None:
    for name, make in _MODELS.items():
        keras.utils.set_random_seed(7)
        folder = _HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        make(folder)
        if name != "string_input":
            make_reference(name, folder)


if __name__ == "__main__":
    main()
