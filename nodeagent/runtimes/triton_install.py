"""The Triton of this host: its program, and which backends lie beside it."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nodeagent.runtimes.triton_version import read_version

# What of a host's GPUs and of the yard's own interpreter it needs is looked for in the files of a backend.
_CUDA_PROVIDER = "libonnxruntime_providers_cuda.so"
_PYTHON_LIBRARY = re.compile(rb"libpython(3\.\d+)\.so")
_STUB = "triton_python_backend_stub"
_DEFAULT_BACKENDS = Path("/opt/tritonserver/backends")
PLACEHOLDERS = ("repository", "model", "gpu", "cores", "name")


@dataclass(frozen=True)
class TritonInstall:
    """`command`: its program and what goes before its flags, with placeholders where `is_template`.

    `backends`: by the names of their folders. `backends_folder`: None where the program knows it by itself.
    `problem`: why it cannot be used here, as a sentence; "" where it can. `python_problem`: the same of its Python
    backend, for the models of the yard.
    """

    command: tuple[str, ...] = ()
    is_template: bool = False
    backends: frozenset[str] = frozenset()
    backends_on_gpu: frozenset[str] = frozenset()
    backends_folder: Path | None = None
    version: str = ""
    problem: str = ""
    python_problem: str = ""


def find_triton(program: Path | None, backends: Path | None) -> TritonInstall:
    """Starts it for a moment. Raises ValueError where what was named is not there."""
    found = shutil.which(program.absolute() if program else "tritonserver")
    if not found:
        if program:
            raise ValueError(f"--triton {program} is not a program that can be run")
        return TritonInstall(problem="tritonserver is not on PATH here: install Triton, or name its program: --triton")
    found = str(Path(found).absolute())  # it starts in another folder
    folder = backends.absolute() if backends else _find_backends(Path(found))
    if not folder or not folder.is_dir():
        problem = f"{found} has no backends beside it: name their folder with --triton-backends"
        if backends:
            raise ValueError(f"--triton-backends {backends} is not a folder")
        return TritonInstall(problem=problem)
    names = frozenset(path.parent.name for path in folder.glob("*/libtriton_*.so") if _is_backend(path))
    version, problem = read_version(found)
    if not names and not problem:
        problem = f"{folder} has none of Triton's backends in it: name their folder with --triton-backends"
    return TritonInstall(
        command=(found,),
        backends=names,
        backends_on_gpu=frozenset(name for name in names if _computes_on_gpu(folder / name)),
        backends_folder=folder,
        version=version,
        problem=problem,
        python_problem=_find_python_problem(folder / "python", f"{sys.version_info[0]}.{sys.version_info[1]}"),
    )


def name_triton(command: str, backends: Sequence[str]) -> TritonInstall:
    """One that a command starts, such as that of a container; which backends it has only its user knows.

    Raises ValueError where the command cannot work.
    """
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ValueError(f"--triton-command {command!r} cannot be split into words: {error}") from error
    if not words or not any("{repository}" in word for word in words):
        raise ValueError(f"--triton-command {command!r} has no {{repository}}, the folder that it has to make readable")
    try:
        fill_template(words, dict.fromkeys(PLACEHOLDERS, ""))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"--triton-command {command!r} has a placeholder that is not known ({error}): there are "
            f"{', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}"
        ) from error
    if not shutil.which(words[0]):
        return TritonInstall(problem=f"{words[0]}, with which --triton-command starts Triton, is not on PATH here")
    return TritonInstall(
        command=words,
        is_template=True,
        backends=frozenset(backends),
        backends_on_gpu=frozenset(backends),
        python_problem="the yard's models do not run on the Python of a container",
    )


def fill_template(words: Sequence[str], values: dict[str, str]) -> list[str]:
    """Raises KeyError, IndexError and ValueError for what is not a template of these values."""
    return [word.format_map(values) for word in words]


def _find_backends(program: Path) -> Path | None:
    """Beside its bin folder, or where NVIDIA's images have them."""
    beside = program.resolve().parent.parent / "backends"
    return next((folder for folder in (beside, _DEFAULT_BACKENDS) if folder.is_dir()), None)


def _is_backend(library: Path) -> bool:
    return library.name == f"libtriton_{library.parent.name}.so"


def _computes_on_gpu(backend: Path) -> bool:
    return backend.name != "onnxruntime" or (backend / _CUDA_PROVIDER).exists()


def _find_python_problem(backend: Path, python: str) -> str:
    """Why it cannot run the yard's own model code, which needs this interpreter's packages; "" where it can."""
    stub = backend / _STUB
    if " " in str(backend):
        return f"its Python backend does not run from {backend}, which has a space in it: name another place"
    if not stub.exists():
        return f"its Python backend lacks {_STUB}: copy the one for Python {python} into {backend}"
    made_for = _PYTHON_LIBRARY.search(stub.read_bytes())
    if not made_for:
        return ""  # linked with what it needs
    if (version := made_for[1].decode()) != python:
        return f"its Python backend is made for Python {version}, and this agent runs on {python}"
    return _find_missing_library(stub)


def _find_missing_library(program: Path) -> str:
    with suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run(["ldd", str(program)], capture_output=True, text=True, timeout=10, check=False)
        if missing := re.search(r"(\S+) => not found", answer.stdout):
            return (
                f"{program.name} needs {missing[1]}, which is not here: install it (Debian: apt-get install libpython3)"
            )
    return ""
