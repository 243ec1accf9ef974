"""What a TensorRT plan tells without a GPU and without TensorRT: that it is one, and mostly which version made it.

Its layout is NVIDIA's secret but for what trtexec --getPlanVersionOnly reads of its first 28 bytes: a tag, the number
of the layout as 32 bits, and in layout 0 the version as the bytes 24 to 27.
"""

from controlplane.domain import TensorrtDetails
from modelyard.errors import InvalidArgumentError

# The second one: TensorRT before 8.6, whose layouts are not told.
_TAGS = (b"ftrt", b"ptrt")
_TOLD_LAYOUT = bytes(4)
_HEADER_BYTES = 28
_VERSION = slice(24, 28)
_OLDEST_MAJOR = 8  # that has this layout
_LONGEST_GPU = 100


def is_plan(head: bytes) -> bool:
    return head[:4] in _TAGS


def read_plan(head: bytes, gpu: str) -> TensorrtDetails:
    """`head`: the first bytes of the file, all of a short one. InvalidArgumentError."""
    if len(head) <= _HEADER_BYTES:
        raise InvalidArgumentError(
            f"the TensorRT plan is cut off: it has {len(head)} bytes, fewer than its own header; copy it again"
        )
    if not gpu.strip():
        raise InvalidArgumentError(
            "a TensorRT plan runs only on the GPU model it was built for, and does not tell which that is; name it as "
            'nvidia-smi lists it: --gpu "NVIDIA A10"'
        )
    return TensorrtDetails(_version(head), check_gpu(gpu))


def check_gpu(gpu: str) -> str:
    """Without blanks around it. InvalidArgumentError for what is no name."""
    name = gpu.strip()
    if len(name) > _LONGEST_GPU or not name.isprintable():
        raise InvalidArgumentError(
            f"{gpu[:_LONGEST_GPU]!r} cannot be a GPU's name: it has at most {_LONGEST_GPU} printable characters"
        )
    return name


def _version(head: bytes) -> str:
    parts = head[_VERSION]
    is_told = head[:4] == _TAGS[0] and head[4:8] == _TOLD_LAYOUT and parts[0] >= _OLDEST_MAJOR
    return ".".join(map(str, parts)) if is_told else ""
