"""`modelyard infer`: one question to a model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli import options, output, parsing
from modelyard.errors import FailedPreconditionError
from modelyard.resource_names import check_model_name

if TYPE_CHECKING:
    from modelyard.tensors import Array


def infer(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model: resnet, resnet@3 or resnet@staging.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="INPUT=VALUE", help="VALUE: @file.npy, @file.json, or JSON. Repeatable."),
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Ask with the sample that the controller keeps of the version.")
    ] = False,
    alias: Annotated[str | None, typer.Option(metavar="ALIAS", help="Ask this alias.  [default: production]")] = None,
    version: Annotated[int | None, typer.Option(metavar="NUMBER", min=1, help="Ask this version.")] = None,
    outputs: Annotated[
        list[str] | None, typer.Option("--output", metavar="OUTPUT", help="Only this output; repeatable.")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write each output to OUTPUT.npy in this folder.")
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="The deadline.")] = 30.0,
    router: options.Router = options.ROUTER,
    controller: options.Controller = options.CONTROLLER,
    as_json: options.Json = False,
) -> None:
    """Run a model once and show what it answers."""
    from modelyard._calls import UnreachableError
    from modelyard._target import resolve_target
    from modelyard.client import Client

    if not inputs and not sample:
        raise typer.BadParameter("give INPUT=VALUE for each input, or --sample", param_hint="--input")
    values = {key: _load(key, text) for key, text in parsing.parse_pairs("--input", inputs or []).items()}
    check_model_name(name.partition("@")[0])
    if sample:
        from modelyard.cli.sample import load_sample

        values = {**load_sample(controller, resolve_target(name, alias=alias, version=version)), **values}
    try:
        with Client(router) as yard:
            answer = yard.infer(
                name, alias=alias, version=version, inputs=values, outputs=outputs or (), timeout_s=timeout
            )
    except UnreachableError:
        raise UnreachableError(
            f"no router answers at {router}: start a yard with `modelyard up`, "
            "or say where one runs with --router HOST:PORT or MODELYARD_ROUTER"
        ) from None
    if output_dir is not None:
        _save(answer, output_dir)
    if as_json:
        output.print_json({key: _to_json(array) for key, array in answer.items()})
    else:
        typer.echo("\n".join(_describe(key, array) for key, array in answer.items()))


def _load(name: str, text: str) -> Any:
    hint = f"--input {name}"
    try:
        if not text.startswith("@"):
            return json.loads(text)
        path = Path(text[1:])
        if path.suffix == ".npy":
            import numpy as np

            return np.load(path, allow_pickle=False)
        return json.loads(path.read_text())
    except OSError as error:
        raise typer.BadParameter(f"cannot read {text[1:]}: {error.strerror}", param_hint=hint) from None
    except ValueError as error:
        wanted = "wanted @file.npy, @file.json, or JSON such as '[[1, 2]]' or '[\"text\"]'"
        raise typer.BadParameter(f"{error}; {wanted}", param_hint=hint) from None


def _save(answer: Mapping[str, Array], folder: Path) -> None:
    """Raises FailedPreconditionError where the folder cannot be written."""
    import numpy as np

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in answer.items():
            np.save(folder / f"{name.replace('/', '_')}.npy", _as_saved(array))
    except OSError as error:
        raise FailedPreconditionError(f"cannot write to {folder}: {error.strerror}") from None


def _as_saved(array: Array) -> Array:
    """BYTES as strings of one size, which any program can load.

    There numpy takes NULs at the end for padding. Where an element ends with one, all stay objects: they are loaded
    with `allow_pickle=True`.
    """
    import numpy as np

    if array.dtype.kind != "O" or any(value.endswith(b"\0") for value in array.flat):
        return array
    return array.astype(np.bytes_)


def _describe(name: str, array: Array) -> str:
    """Name, type and shape, and the values: all of a few, the corners and the range of many."""
    import numpy as np

    from modelyard.tensors import datatype_of

    text = np.array2string(array, threshold=64, edgeitems=3, max_line_width=100)
    head = f"{name}  {datatype_of(array)}{list(array.shape)}"
    if array.size > 64 and array.dtype.kind in "iuf":
        head += f"  min {array.min():g}, mean {array.mean():g}, max {array.max():g}, greatest at {int(array.argmax())}"
    return f"{head}\n{text}"


def _to_json(array: Array) -> dict[str, Any]:
    from modelyard.tensors import datatype_of

    return {
        "datatype": datatype_of(array),
        "shape": list(array.shape),
        "data": [_json_value(value) for value in array.ravel().tolist()],
    }


def _json_value(value: Any) -> Any:
    """JSON has no bytes and no NaN: text with escapes, and the words that protobuf's JSON uses."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
