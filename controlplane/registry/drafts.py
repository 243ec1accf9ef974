"""The facts of a new version: of a file that was looked at, or of a content that is stored already. Pure."""

from dataclasses import replace

from controlplane.domain import FormatDetails, Sample, TensorrtDetails, Version, VersionDraft
from controlplane.registry.announcement import Announcement
from controlplane.registry.formats.inspected import Inspected
from controlplane.registry.formats.tensorrt_plan import check_gpu


def make_draft(
    announced: Announcement, inspected: Inspected, *, uri: str, sha256: str, size_bytes: int, sample: Sample | None
) -> VersionDraft:
    """`sha256`, `size_bytes`: of the file that is kept."""
    return VersionDraft(
        model=announced.model,
        format=inspected.format,
        packaging=inspected.packaging,
        uri=uri,
        sha256=sha256,
        size_bytes=size_bytes,
        signature=inspected.signature,
        details=inspected.details,
        sample=sample,
        description=announced.description,
        user=announced.user,
        metrics=announced.metrics,
        parameters=announced.parameters,
        tags=announced.tags,
        source=announced.source,
        origin=announced.origin,
    )


def can_copy(announced: Announcement, known: Version) -> bool:
    """Whether the facts of a version with the same content are those of the announced one.

    Not where a sample is given, which is to be looked at, where the known one's was, which is not this owner's, and not
    where it was registered before these facts were kept. Not where a GPU is named of what is no TensorRT plan, either:
    the look at the file refuses that.
    """
    facts = known.facts
    is_sample_made = facts.sample.is_made if facts.sample else not facts.signature.inputs
    may_have_gpu = isinstance(facts.details, TensorrtDetails) or not announced.gpu.strip()
    return facts.details is not None and is_sample_made and not announced.sample and may_have_gpu


def copy_draft(announced: Announcement, known: Version) -> VersionDraft:
    facts = known.facts
    return replace(
        facts,
        model=announced.model,
        details=_name_gpu(facts.details, check_gpu(announced.gpu)),
        description=announced.description,
        user=announced.user,
        metrics=announced.metrics,
        parameters=announced.parameters,
        tags=announced.tags,
        source=announced.source,
        origin=announced.origin,
    )


def gpu_of(known: Version) -> str:
    """What its owner named; a plan with the same bytes was built for the same."""
    return known.facts.details.gpu if isinstance(known.facts.details, TensorrtDetails) else ""


def _name_gpu(details: FormatDetails | None, gpu: str) -> FormatDetails | None:
    return replace(details, gpu=gpu) if gpu and isinstance(details, TensorrtDetails) else details
