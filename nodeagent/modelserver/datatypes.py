"""The tensor types that ONNX and KServe v2 have in common."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BF16_ONNX_ELEMENT_TYPE = 16  # onnx.TensorProto.BFLOAT16; the onnx package is not needed for one number


@dataclass(frozen=True)
class Datatype:
    """One tensor type by all its names.

    `dtype` is how its elements lie in numpy: BF16 has no numpy type and is held as its 16 bits, BYTES as objects.
    `contents` is the field of InferTensorContents that carries it; None where the protocol allows raw bytes only.
    """

    name: str
    onnxruntime_type: str
    dtype: np.dtype[Any]
    contents: str | None

    @property
    def config_name(self) -> str:
        """As inference.DataType in a ModelConfig calls it."""
        return "TYPE_STRING" if self.name == "BYTES" else f"TYPE_{self.name}"


DATATYPES = (
    Datatype("BOOL", "tensor(bool)", np.dtype(np.bool_), "bool_contents"),
    Datatype("UINT8", "tensor(uint8)", np.dtype("<u1"), "uint_contents"),
    Datatype("UINT16", "tensor(uint16)", np.dtype("<u2"), "uint_contents"),
    Datatype("UINT32", "tensor(uint32)", np.dtype("<u4"), "uint_contents"),
    Datatype("UINT64", "tensor(uint64)", np.dtype("<u8"), "uint64_contents"),
    Datatype("INT8", "tensor(int8)", np.dtype("<i1"), "int_contents"),
    Datatype("INT16", "tensor(int16)", np.dtype("<i2"), "int_contents"),
    Datatype("INT32", "tensor(int32)", np.dtype("<i4"), "int_contents"),
    Datatype("INT64", "tensor(int64)", np.dtype("<i8"), "int64_contents"),
    Datatype("FP16", "tensor(float16)", np.dtype("<f2"), None),
    Datatype("BF16", "tensor(bfloat16)", np.dtype("<u2"), None),
    Datatype("FP32", "tensor(float)", np.dtype("<f4"), "fp32_contents"),
    Datatype("FP64", "tensor(double)", np.dtype("<f8"), "fp64_contents"),
    Datatype("BYTES", "tensor(string)", np.dtype(np.object_), "bytes_contents"),
)

BY_ONNXRUNTIME_TYPE = {datatype.onnxruntime_type: datatype for datatype in DATATYPES}
