#!/usr/bin/env python3
"""Takes Magika's two ONNX models out of their wheels on the package index into .cache/models, checked by SHA-256.

Magika (https://github.com/google/magika, Apache-2.0) tells what kind of content a file holds. Its two versions have the
same inputs and outputs: a real pair of an old and a new model. Does nothing where the files are there already.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

MODELS = Path(__file__).resolve().parent.parent / ".cache" / "models"


class Wheel(NamedTuple):
    version: str
    folder: str  # below .cache/models
    model: str  # below magika/models in the wheel
    sha256: dict[str, str]  # of each file that is taken


WHEELS = [
    Wheel(
        "1.0.3",
        "magika-standard-v3-3",
        "standard_v3_3",
        {
            "model.onnx": "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
            "config.min.json": "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
            "content_types_kb.min.json": "75208adba69bc0556403b62b32ef3ccf8b5ce494411780845852e52e6583a10d",
        },
    ),
    Wheel(
        "0.6.1",
        "magika-standard-v3-2",
        "standard_v3_2",
        {
            "model.onnx": "ba4f372744331c0088d7c9b8b4fd702f4bc2bdddbeecde27488fceeadf71c3ce",
            "config.min.json": "b40e943ae9ac5e8d86a93f1e955ee45cdebaa8760a0e41dc1cd0da8dcf6c6056",
            "content_types_kb.min.json": "75208adba69bc0556403b62b32ef3ccf8b5ce494411780845852e52e6583a10d",
        },
    ),
]


def is_there(folder: Path, wheel: Wheel) -> bool:
    return all(compute_sha256(folder / name) == sha256 for name, sha256 in wheel.sha256.items())


def compute_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def fetch(wheel: Wheel) -> None:
    """All files of a wheel or none: they are unpacked and checked beside their place, then moved there."""
    with tempfile.TemporaryDirectory(dir=MODELS, prefix=".fetch-") as work:
        archive = download(wheel, Path(work))
        unpacked = Path(work) / "unpacked"
        unpack(archive, wheel, unpacked)
        if not is_there(unpacked, wheel):
            sys.exit(f"fetch_models: {archive.name} does not hold the files that WHEELS in {__file__} expects")
        shutil.rmtree(MODELS / wheel.folder, ignore_errors=True)
        unpacked.rename(MODELS / wheel.folder)


def download(wheel: Wheel, folder: Path) -> Path:
    """By pip, which knows this machine's package index. Any platform's wheel will do: all hold the same models."""
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    command = [find_pip_python(), "-m", "pip", "download", *options, f"magika=={wheel.version}"]
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(f"fetch_models: magika {wheel.version} cannot be had from the package index; pip's words are above")
    return next(folder.glob("*.whl"))


def find_pip_python() -> str:
    """A Python that has pip: this one, or the machine's where uv made the environment, as uv puts no pip in it."""
    for python in (sys.executable, "python3.11", "python3"):
        command = [python, "-m", "pip", "--version"]
        if shutil.which(python) and subprocess.run(command, check=False, capture_output=True).returncode == 0:
            return python
    subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
    return sys.executable


def unpack(archive: Path, wheel: Wheel, target: Path) -> None:
    target.mkdir()
    with zipfile.ZipFile(archive) as opened:
        for name in wheel.sha256:
            folder = "magika/config" if name == "content_types_kb.min.json" else f"magika/models/{wheel.model}"
            (target / name).write_bytes(opened.read(f"{folder}/{name}"))


def main() -> None:
    MODELS.mkdir(parents=True, exist_ok=True)
    for wheel in WHEELS:
        if not is_there(MODELS / wheel.folder, wheel):
            print(f"fetch_models: {wheel.folder} from magika {wheel.version}", file=sys.stderr)
            fetch(wheel)
    (MODELS / "complete").touch()


if __name__ == "__main__":
    main()
