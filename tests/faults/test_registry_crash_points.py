"""The controller is killed at every single step of a registration, and of what else changes the registry."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.harness.models import write_scale_model
from tests.harness.onnx_models import write_model_with_external_data
from tests.harness.programs import Program
from tests.harness.registry_caller import RegistryCaller

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

# One call, given which try it is; with what it has to find there.
Act = Callable[[RegistryCaller, int], None]
_MOST_STEPS = 400


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path


def controller(folder: Path, method: str = "", die_at: int = 0) -> Program:
    options = ["--listen", "127.0.0.1:0", "--data", str(folder / "controller")]
    dying = [method, str(die_at)] if method else []
    module = "tests.faults.dying_controller" if method else "controlplane"
    return Program(module, [*dying, *options], folder / "controller.log")


def kill_at_every_step(folder: Path, method: str, prepare: Act, act: Act) -> int:
    """How many steps the call has. Between two of them everything must hold; each is followed by a new start."""
    for step in range(1, _MOST_STEPS):
        program = controller(folder, method, step)
        program.start()
        try:
            with RegistryCaller(program.facts["address"]) as caller:
                caller.check()  # what the kill before has left
                prepare(caller, step)
                act(caller, step)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error
            continue
        finally:
            program.kill()
        return step - 1
    raise AssertionError(f"{method} has more than {_MOST_STEPS} steps")


def content(folder: Path, factor: float) -> bytes:
    return write_scale_model(folder / "model.onnx", factor).read_bytes()


def check_at_the_end(folder: Path, then: Callable[[RegistryCaller], None]) -> None:
    program = controller(folder)
    program.start()
    try:
        with RegistryCaller(program.facts["address"]) as caller:
            caller.check()
            then(caller)
            caller.check()
            caller.wait_recorded()
    finally:
        assert program.stop() == 0
    # The beginnings of uploads that the kills have cut off are kept for a day, and nothing else.
    incoming = folder / "controller" / "artifacts" / "incoming"
    assert [path for path in incoming.iterdir() if path.suffix != ".part"] == []


def test_registration(folder: Path) -> None:
    def register(caller: RegistryCaller, step: int) -> None:
        caller.register("scale", content(folder, step))

    steps = kill_at_every_step(folder, "CreateVersion", lambda caller, step: None, register)
    assert steps > 10

    def register_again(caller: RegistryCaller) -> None:
        """Each content is there once: as the killed controller left it, or by being registered now."""
        for step in range(1, steps + 2):
            try:
                caller.register("scale", content(folder, step))
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.ALREADY_EXISTS, error
        versions = caller.versions()
        assert len(versions) == len({version.sha256 for version in versions}) == steps + 1

    check_at_the_end(folder, register_again)


def test_registration_of_a_folder_that_the_controller_reads(folder: Path) -> None:
    def write(step: int) -> str:
        made = folder / f"model-{step}"
        made.mkdir(exist_ok=True)
        write_model_with_external_data(made / "model.onnx", np.full(8, step, np.float32))
        return f"file://{made}"

    def register(caller: RegistryCaller, step: int) -> None:
        caller.register_from_uri("scale", write(step))

    steps = kill_at_every_step(folder, "CreateVersionFromUri", lambda caller, step: None, register)
    assert steps > 10

    def register_again(caller: RegistryCaller) -> None:
        for step in range(1, steps + 2):
            with contextlib.suppress(grpc.RpcError):
                register(caller, step)
        versions = caller.versions()
        assert len(versions) == len({version.sha256 for version in versions}) == steps + 1

    check_at_the_end(folder, register_again)


def _two_versions(folder: Path) -> Act:
    def prepare(caller: RegistryCaller, step: int) -> None:
        if not caller.models():
            for factor in (1.0, 2.0):
                caller.register("scale", content(folder, factor))

    return prepare


def test_alias_move(folder: Path) -> None:
    register = _two_versions(folder)

    def prepare(caller: RegistryCaller, step: int) -> None:
        register(caller, step)

    def move(caller: RegistryCaller, step: int) -> None:
        here = {alias.alias: alias.version for alias in caller.models()[0].aliases}
        caller.set_alias("scale", "production", 3 - here.get("production", 2), f"try {step}")

    steps = kill_at_every_step(folder, "SetAlias", prepare, move)
    assert steps > 3
    check_at_the_end(folder, lambda caller: move(caller, 0))


def test_rollback(folder: Path) -> None:
    register = _two_versions(folder)

    def prepare(caller: RegistryCaller, step: int) -> None:
        register(caller, step)
        caller.set_alias("scale", "production", 1)
        caller.set_alias("scale", "production", 2)

    def roll_back(caller: RegistryCaller, step: int) -> None:
        caller.roll_back("scale", "production")
        assert caller.models()[0].aliases[0].version == 1

    steps = kill_at_every_step(folder, "RollbackAlias", prepare, roll_back)
    assert steps > 3
    check_at_the_end(folder, lambda caller: None)


def test_delete_and_purge(folder: Path) -> None:
    from modelyard.v1 import registry_pb2 as pb

    def prepare(caller: RegistryCaller, step: int) -> None:
        version = caller.register("scale", content(folder, step))
        caller.stub.DeleteVersion(pb.DeleteVersionRequest(name=version.name), timeout=60)

    def purge(caller: RegistryCaller, step: int) -> None:
        caller.stub.PurgeVersions(pb.PurgeVersionsRequest(), timeout=60)

    steps = kill_at_every_step(folder, "PurgeVersions", prepare, purge)
    assert steps > 3
    store = folder / "controller" / "artifacts" / "sha256"

    def purge_later(caller: RegistryCaller) -> None:
        """A file without a record is let be for an hour: its record may be about to be written."""
        for path in store.rglob("*"):
            os.utime(path, (time.time() - 7200,) * 2)
        purge(caller, 0)

    check_at_the_end(folder, purge_later)
    assert [path for path in store.rglob("*") if path.is_file()] == []  # nothing needs any
