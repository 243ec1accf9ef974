"""What looking at a model file brought to light."""

from dataclasses import dataclass
from pathlib import Path

from controlplane.domain import FormatDetails, ModelFormat, Packaging, Signature

MOST_SAMPLE_BYTES = 16 << 20


@dataclass(frozen=True)
class Inspected:
    """`file`: what is to be kept: the file that was looked at or, of an archive, one that was made of its content."""

    format: ModelFormat
    packaging: Packaging
    signature: Signature
    details: FormatDetails
    file: Path
    # One set of inputs as an .npz file: the one that was given, or one that was made. None where there is no signature,
    # or where one would have more than MOST_SAMPLE_BYTES.
    sample: bytes | None
