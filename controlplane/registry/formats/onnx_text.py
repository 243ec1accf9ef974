"""Texts in an ONNX model."""

from modelyard.errors import InvalidArgumentError


def to_text(value: str | bytes) -> str:
    """The value itself. InvalidArgumentError for bytes, which protobuf gives for a text that is not UTF-8."""
    if isinstance(value, bytes):
        raise InvalidArgumentError(f"the ONNX file is damaged: {value[:100]!r} in it is no text; export it again")
    return value
