"""What the process that looks at model files answers where the host, not the model, is in the way."""

import errno
import os
from pathlib import Path

import pytest

from controlplane.registry.formats import inspect_model, model_file
from controlplane.registry.formats.inspect_model import Request


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "no_room"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "no_room"),
        (OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)), "refused"),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), "refused"),
        (MemoryError(), "refused"),
    ],
)
def test_errors_of_the_host_are_told_from_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, answer: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(model_file, "inspect_file", fail)
    request = Request(str(tmp_path), str(tmp_path), gpu="", max_unpacked_bytes=1, memory_bytes=1, cpu_s=1)
    assert list(inspect_model.inspect(request, b"")) == [answer]
