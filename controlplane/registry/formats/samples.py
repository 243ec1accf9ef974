"""One set of inputs for a model, as an .npz file: an array for each input, under its name.

Arrays have NumPy's type of the input's datatype, in little-endian order. NumPy has no BF16: its bits are kept as
uint16. BYTES are NumPy's bytes (S) or text (U), never Python objects, for which a file would have to hold a pickle.
"""

import io
import math
import struct
import zipfile
import zlib
from typing import IO, NamedTuple

import numpy as np

from controlplane.domain import Signature, TensorSpec
from controlplane.registry.formats.inspected import MOST_SAMPLE_BYTES
from modelyard.errors import InvalidArgumentError

# Of all arrays: the file may be compressed.
MOST_UNPACKED_BYTES = 64 << 20
_SUFFIX = ".npy"
_DTYPES: dict[str, str] = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "BF16": "<u2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BYTES": "S1",
}
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    SyntaxError,
    TypeError,
)
_SAVE_SO = "np.savez(file, **{input name: array})"


class _Array(NamedTuple):
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


def make_sample(signature: Signature) -> bytes | None:
    """The same bytes for the same signature. None where there is no input, or too much: over MOST_SAMPLE_BYTES.

    A dimension that varies is 1. Floats lie in [0, 1); integers, which are often indices, are 0; texts are empty.
    """
    needed_bytes = sum(math.prod(_shape(spec)) * np.dtype(_DTYPES[spec.datatype]).itemsize for spec in signature.inputs)
    if not signature.inputs or needed_bytes > MOST_SAMPLE_BYTES - _overhead_bytes(signature):
        return None
    chance = np.random.default_rng(0)
    target = io.BytesIO()
    # Not numpy.savez: it takes no input of the name "file".
    with zipfile.ZipFile(target, "w") as archive:
        for spec in signature.inputs:
            with archive.open(zipfile.ZipInfo(spec.name + _SUFFIX), "w") as file:
                np.lib.format.write_array(file, _make_array(spec, chance), allow_pickle=False)
    return target.getvalue()


def check_sample(sample: bytes, signature: Signature) -> None:
    """InvalidArgumentError where the .npz file does not fit the signature's inputs; where it has none, any will do."""
    try:
        arrays = _read_arrays(sample)
    except _DAMAGED as error:
        raise InvalidArgumentError(
            f"the sample is no .npz file that can be read ({error}); save it so: {_SAVE_SO}"
        ) from error
    if signature.inputs:
        _compare(arrays, signature.inputs)


def _shape(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(1 if size < 0 else size for size in spec.shape)


def _overhead_bytes(signature: Signature) -> int:
    """Of the zip and of the arrays' headers, at most."""
    return sum(1024 + 4 * len(spec.name.encode()) + 24 * len(spec.shape) for spec in signature.inputs)


def _make_array(spec: TensorSpec, chance: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    dtype, shape = np.dtype(_DTYPES[spec.datatype]), _shape(spec)
    if spec.datatype == "BF16":
        # Its bits are the upper half of a 32-bit float's.
        return (chance.random(shape, np.float32).view(np.uint32) >> 16).astype(dtype)
    if dtype.kind == "f":
        # In 32 bits: a 16-bit float that is rounded up may be 1.
        return chance.random(shape, np.float32).astype(dtype)
    return np.zeros(shape, dtype)


def _read_arrays(sample: bytes) -> dict[str, _Array]:
    """By name. Raises one of _DAMAGED, InvalidArgumentError."""
    arrays: dict[str, _Array] = {}
    left_bytes = MOST_UNPACKED_BYTES
    with zipfile.ZipFile(io.BytesIO(sample)) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(_SUFFIX)
            if name in arrays or name == member.filename:
                raise ValueError(f"{member.filename[:200]!r} is no array, or there twice")
            with archive.open(member) as file:
                arrays[name], size_bytes = _read_array(file, name, left_bytes)
            left_bytes -= size_bytes
    return arrays


def _read_array(file: IO[bytes], name: str, most_bytes: int) -> tuple[_Array, int]:
    """Its type, shape and size in bytes; its values are read and counted, not kept."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise InvalidArgumentError(
            f"the sample's {name[:200]!r} has Python objects in it, which are never loaded here; "
            "make its array with a plain type, such as array.astype('S') for texts"
        )
    size_bytes = math.prod(shape) * dtype.itemsize
    if size_bytes > most_bytes or min(shape, default=0) < 0:
        raise InvalidArgumentError(
            f"the sample's arrays have more than {MOST_UNPACKED_BYTES} bytes; give one with a smaller batch"
        )
    if len(file.read(size_bytes + 1)) != size_bytes:
        raise ValueError(f"the array {name[:200]!r} has not as many bytes as its header says")
    return _Array(dtype, shape), size_bytes


def _compare(arrays: dict[str, _Array], inputs: tuple[TensorSpec, ...]) -> None:
    wanted = {spec.name: spec for spec in inputs}
    if arrays.keys() != wanted.keys():
        raise InvalidArgumentError(
            f"the sample has the arrays {_listed(arrays)}, and the model takes {_listed(wanted)}: {_SAVE_SO}"
        )
    for name, spec in wanted.items():
        array = arrays[name]
        if not _is_type(array.dtype, spec.datatype):
            raise InvalidArgumentError(
                f"the sample's {name!r} has the type {array.dtype.name}, and the model takes {spec.datatype}; "
                f"convert it: array.astype({np.dtype(_DTYPES[spec.datatype]).name!r})"
            )
        if len(array.shape) != len(spec.shape) or any(
            wanted_size not in (-1, size) for size, wanted_size in zip(array.shape, spec.shape, strict=True)
        ):
            raise InvalidArgumentError(
                f"the sample's {name!r} has the shape {list(array.shape)}, and the model takes "
                f"{list(spec.shape)}, where -1 varies; reshape it"
            )


def _is_type(dtype: np.dtype[np.generic], datatype: str) -> bool:
    return dtype.kind in "SU" if datatype == "BYTES" else dtype == np.dtype(_DTYPES[datatype])


def _listed(names: dict[str, _Array] | dict[str, TensorSpec]) -> str:
    return ", ".join(map(repr, sorted(names)))[:1000] or "none"
