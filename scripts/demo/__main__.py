"""Serves a real model on this machine and asks it what kind of content real files hold. Started by scripts/run."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import modelyard
from modelyard.cli.output import print_table
from scripts.demo.magika import Magika
from scripts.demo.yard import DemoYard

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / ".cache" / "models" / "magika-standard-v3-3"
OLDER = ROOT / ".cache" / "models" / "magika-standard-v3-2"
OWN_FILES = [
    "README.md",
    "LICENSE",
    "pyproject.toml",
    "scripts/setup",
    "scripts/fetch_models.py",
    "proto/modelyard/v1/resources.proto",
    "modelyard/client.py",
    ".cache/models/magika-standard-v3-3/model.onnx",
    ".cache/models/magika-standard-v3-3/config.min.json",
]
Row = tuple[str, str, str, str]


def main() -> int:
    options = parse_arguments()
    data = Path(os.environ.get("MODELYARD_DATA") or ROOT / "demo-data")
    try:
        with DemoYard(data) as yard:
            serve(yard)
            unread = show(yard, options.files or own_files())
            if options.once:
                return 1 if unread else 0
            print_next_steps(yard)
            return yard.wait()
    except KeyboardInterrupt:
        return 0 if not options.once else 130


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/run", description="Serve a real model here and ask it what kind of content each FILE holds."
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="default: some of this repository")
    parser.add_argument("--once", action="store_true", help="stop after the table")
    return parser.parse_args()


def own_files() -> list[str]:
    return [os.path.relpath(ROOT / name) for name in OWN_FILES]


def serve(yard: DemoYard) -> None:
    description = "What kind of content a file holds: Magika standard_v3_3"
    model_id = yard.type_command(
        "register", "magika", str(MODEL / "model.onnx"), "--exist-ok", "--description", description
    )
    yard.type_command("alias", "set", "magika", "production", model_id.partition("@")[2])
    yard.type_command("deploy", "magika")


def show(yard: DemoYard, files: list[str]) -> bool:
    """Prints the table. True where a file could not be read."""
    magika = Magika(MODEL)
    with modelyard.Client(yard.facts["router"]) as client:
        client.is_ready("magika")  # connects, so that the first file's time is that of an inference alone
        rows = [classify(client, magika, name) for name in files]
    print()
    print_table(["FILE", "LABEL", "PROBABILITY", "MILLISECONDS"], rows)
    return any(row[1].startswith("cannot be read") for row in rows)


def classify(client: modelyard.Client, magika: Magika, name: str) -> Row:
    path = Path(name)
    if path.is_dir():
        return (name, "directory", "", "")
    try:
        with path.open("rb") as file:
            features = magika.make_input(file)
    except OSError as error:
        return (name, f"cannot be read: {error.strerror}", "", "")
    if isinstance(features, str):
        return (name, features, "", "")
    start = time.perf_counter()
    outputs = client.infer("magika", bytes=features)
    milliseconds = (time.perf_counter() - start) * 1000
    answer = magika.read_answer(outputs["target_label"][0])
    return (name, answer.label, f"{answer.probability:.4f}", f"{milliseconds:.1f}")


def print_next_steps(yard: DemoYard) -> None:
    exports = " ".join(f"{key}={value}" for key, value in yard.environment.items())
    older = os.path.relpath(OLDER / "model.onnx")
    print(f"""The yard runs on, with its logs in {yard.facts["logs"]}. Ctrl-C stops it. Try in another terminal:

  export PATH={ROOT / ".venv/bin"}:$PATH {exports}
  modelyard status
  modelyard register magika {older} --exist-ok --description "the version before"
  modelyard alias set magika staging 2 && modelyard deploy magika --alias staging
  modelyard replicas
  python -c 'import modelyard; print(modelyard.Client("{yard.facts["router"]}").metadata("magika", alias="staging"))'
""")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
