"""`modelyard up`: a whole yard on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli import options, output
from modelyard.cli.errors import INTERRUPTED
from modelyard.cli.programs import PROGRAMS, check_installed
from modelyard.program import Patience

if TYPE_CHECKING:
    from modelyard.up.yard import Yard, YardFacts, YardOptions

Listen = Annotated[
    str,
    typer.Option(metavar="HOST:PORT", help="Where clients connect; port 0: any free one.  [default: 127.0.0.1:8001]"),
]
ControllerListen = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="Where commands connect.  [default: 127.0.0.1:8010]")
]


def up(
    *,
    data: Annotated[Path, typer.Option(file_okay=False, help="Folder for all that must last.")] = Path(
        "modelyard-data"
    ),
    config: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="TOML file: [controller], [agent], [router].")
    ] = None,
    listen: Listen = "",
    controller_listen: ControllerListen = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="When ready, print one line of JSON: what listens where.")
    ] = False,
    parent_fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run a whole yard on this machine until Ctrl-C.

    A controller, one node agent and one router, each restarted where it fails. On the same --data it serves what it
    served before.
    """
    from modelyard.files import hold_data_folder
    from modelyard.up.yard import YardOptions

    for program in PROGRAMS:
        check_installed(program)
    _check(config, listen, controller_listen)
    data = data.resolve()
    with hold_data_folder(data, "yard"):
        wanted = YardOptions(data, config.resolve() if config else None, listen, controller_listen)
        raise typer.Exit(asyncio.run(_run(wanted, as_json, parent_fd)))


def _check(config: Path | None, *addresses: str) -> None:
    """What each program would refuse in turn, after those before it have started. Raises InvalidArgumentError."""
    from modelyard.addresses import check_address
    from modelyard.config import read_config

    if config:
        read_config(config)
    for address in filter(None, addresses):
        check_address(address)


async def _run(wanted: YardOptions, as_json: bool, parent_fd: int | None) -> int:
    from modelyard.up.yard import Yard

    modules = {program: module for program, (module, _) in PROGRAMS.items()}
    yard = Yard(wanted, modules, tell=_tell)
    stop = _listen_for_the_end(yard, parent_fd)
    serving = asyncio.create_task(_serve(yard, wanted, as_json))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()  # raises why a program did not start
    finally:
        for task in (serving, stopping):
            task.cancel()
        await asyncio.gather(serving, stopping, return_exceptions=True)
        await yard.stop()
    return 0


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


async def _serve(yard: Yard, wanted: YardOptions, as_json: bool) -> None:
    facts = await yard.start()
    if as_json:
        ready = {**vars(facts), "pid": os.getpid(), "data": str(wanted.data), "logs": str(yard.logs)}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
    else:
        _print_facts(facts, wanted.data, yard.logs)
    await yard.keep()


def _listen_for_the_end(yard: Yard, parent_fd: int | None) -> asyncio.Event:
    """Set by the first signal to stop, and by the end of the parent; the second signal ends everything at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    patience = Patience()

    def on_signal() -> None:
        if patience.is_over(loop.time()):
            _tell("killing all that is left")
            yard.kill()
            os._exit(INTERRUPTED)
        if not stop.is_set():
            _tell("stopping; Ctrl-C again ends everything at once")
        stop.set()

    def on_parent_gone(descriptor: int) -> None:
        loop.remove_reader(descriptor)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    if parent_fd is not None:
        loop.add_reader(parent_fd, on_parent_gone, parent_fd)
    return stop


def _print_facts(facts: YardFacts, data: Path, logs: Path) -> None:
    rows = [
        ("router", facts.router, "for inference: KServe v2, any Triton client"),
        ("controller", facts.controller, "for modelyard's commands, agents and routers"),
        ("agent", f"node {facts.node}", "runs the model servers"),
        ("data", data, "remove it and the yard is gone"),
        ("logs", logs, ""),
    ]
    output.print_table(["THE YARD IS UP", "WHERE", "WHAT FOR"], rows)
    if facts.controller != options.CONTROLLER or facts.router != options.ROUTER:
        typer.echo(f"export MODELYARD_CONTROLLER={facts.controller} MODELYARD_ROUTER={facts.router}")
    typer.echo("Ctrl-C stops it. In another terminal: modelyard register NAME model.onnx")
    sys.stdout.flush()
