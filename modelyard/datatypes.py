"""The tensor types of KServe v2 that are used here: the one table of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Datatype:
    """`dtype` is how its elements lie in numpy: BF16 has no numpy type and is held as its 16 bits, BYTES as objects.

    `contents` is the field of InferTensorContents that carries it; None where the protocol allows raw bytes only.
    """

    name: str
    dtype: np.dtype[Any]
    contents: str | None

    @property
    def least_item_bytes(self) -> int:
        """Raw bytes of the smallest element: the length alone of an empty BYTES element, and all of any other."""
        return 4 if self.name == "BYTES" else self.dtype.itemsize


DATATYPES = (
    Datatype("BOOL", np.dtype(np.bool_), "bool_contents"),
    Datatype("UINT8", np.dtype("<u1"), "uint_contents"),
    Datatype("UINT16", np.dtype("<u2"), "uint_contents"),
    Datatype("UINT32", np.dtype("<u4"), "uint_contents"),
    Datatype("UINT64", np.dtype("<u8"), "uint64_contents"),
    Datatype("INT8", np.dtype("<i1"), "int_contents"),
    Datatype("INT16", np.dtype("<i2"), "int_contents"),
    Datatype("INT32", np.dtype("<i4"), "int_contents"),
    Datatype("INT64", np.dtype("<i8"), "int64_contents"),
    Datatype("FP16", np.dtype("<f2"), None),
    Datatype("BF16", np.dtype("<u2"), None),
    Datatype("FP32", np.dtype("<f4"), "fp32_contents"),
    Datatype("FP64", np.dtype("<f8"), "fp64_contents"),
    Datatype("BYTES", np.dtype(np.object_), "bytes_contents"),
)

BY_NAME = {datatype.name: datatype for datatype in DATATYPES}
