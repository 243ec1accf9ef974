"""The controller is killed again and again while people register, move aliases, edit and delete."""

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from modelyard.v1 import registry_pb2 as pb
from modelyard.v1.resources_pb2 import Version
from tests.harness.models import write_scale_model
from tests.harness.programs import Program
from tests.harness.registry_caller import RegistryCaller

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

_KILLS = 100
_LEAST_S, _MOST_S = 0.1, 2.0


class Person:
    """Works on a model of its own; `told` is what the controller said was done."""

    def __init__(self, number: int, folder: Path) -> None:
        self.model = f"model-{number}"
        self._folder, self._chance = folder, random.Random(number)
        self._contents = number * 1_000_000
        self.registered: dict[int, str] = {}
        self.deleted: set[int] = set()
        self.moves: dict[str, list[int]] = defaultdict(list)
        # What was told to be done, and what was begun: one more at the most.
        self.descriptions: dict[int, list[str]] = defaultdict(list)
        self.begun: dict[int, str] = {}

    def work(self, caller: RegistryCaller, stop: threading.Event) -> None:
        """Until `stop`, or until the controller is gone."""
        try:
            while not stop.is_set():
                self._chance.choice((self._register, self._move, self._move, self._edit, self._delete))(caller)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error

    def _register(self, caller: RegistryCaller) -> None:
        self._contents += 1
        path = write_scale_model(self._folder / f"{self.model}.onnx", self._contents)
        version = caller.register(self.model, path.read_bytes())
        self.registered[version.number] = version.sha256

    def _some_version(self) -> int:
        return self._chance.choice(sorted(self.registered.keys() - self.deleted) or [0])

    def _move(self, caller: RegistryCaller) -> None:
        if number := self._some_version():
            alias = self._chance.choice(("production", "staging"))
            caller.set_alias(self.model, alias, number)
            self.moves[alias].append(number)

    def _edit(self, caller: RegistryCaller) -> None:
        if number := self._some_version():
            text = f"{self._chance.random()}"
            request = pb.UpdateVersionRequest(name=f"models/{self.model}/versions/{number}", description=text)
            self.begun = {number: text}
            caller.stub.UpdateVersion(request, timeout=60)
            self.descriptions[number].append(text)
            self.begun = {}

    def _delete(self, caller: RegistryCaller) -> None:
        number = self._some_version()
        if number and self._chance.random() < 0.3:
            try:
                caller.stub.DeleteVersion(
                    pb.DeleteVersionRequest(name=f"models/{self.model}/versions/{number}"), timeout=60
                )
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.FAILED_PRECONDITION:  # an alias points to it
                    return
                raise
            self.deleted.add(number)

    def catch_up(self, caller: RegistryCaller) -> None:
        """What it was told must be so; what was under way at the kill is so or not, and is learnt now."""
        versions = {version.number: version for version in caller.versions() if version.model == self.model}
        assert self.registered.items() <= {number: v.sha256 for number, v in versions.items()}.items()
        assert len(versions) <= len(self.registered) + 1
        gone = {number for number, version in versions.items() if version.HasField("delete_time")}
        assert self.deleted <= gone and len(gone) <= len(self.deleted) + 1
        history: dict[str, list[int]] = defaultdict(list)
        for move in caller.moves(self.model) if versions else []:
            history[move.alias].append(move.to_version)
        for alias, told in self.moves.items():
            changes = [b for a, b in zip([0, *told], told, strict=False) if a != b]  # to where it is already is no move
            assert history[alias][: len(changes)] == changes, (alias, changes, history[alias])
            assert len(history[alias]) <= len(changes) + 1
        for version in versions.values():
            self._check_edits(caller, version)
        self.begun = {}
        self.registered = {number: version.sha256 for number, version in versions.items()}
        self.deleted = gone
        self.moves = history

    def _check_edits(self, caller: RegistryCaller, version: Version) -> None:
        told = self.descriptions[version.number]
        if version.description == self.begun.get(version.number):
            told.append(version.description)  # it was kept, and the answer was lost
        changes = caller.changes(version)
        assert [change.revision for change in changes] == list(range(1, version.revision + 1))
        assert [json.loads(change.changes_json)["description"]["to"] for change in changes] == told
        assert version.description == (told[-1] if told else "")


def one_round(program: Program, people: list[Person], life_s: float) -> None:
    program.start()
    stop = threading.Event()
    with RegistryCaller(program.facts["address"]) as caller:
        caller.check()
        for person in people:
            person.catch_up(caller)
        failures: list[BaseException] = []
        threads = [threading.Thread(target=_guarded(person.work, failures), args=(caller, stop)) for person in people]
        for thread in threads:
            thread.start()
        time.sleep(life_s)
        program.kill()
        for thread in threads:
            thread.join()
        assert not failures, failures


def _guarded(act: Callable[..., None], failures: list[BaseException]) -> Callable[..., None]:
    def guarded(*arguments: object) -> None:
        try:
            act(*arguments)
        except BaseException as error:
            failures.append(error)

    return guarded


def test_nothing_is_lost_in_a_hundred_kills(tmp_path: Path) -> None:
    options = ["--listen", "127.0.0.1:0", "--data", str(tmp_path / "controller")]
    program = Program("controlplane", options, tmp_path / "controller.log")
    people = [Person(number, tmp_path) for number in range(4)]
    chance = random.Random(0)
    try:
        for _ in range(_KILLS):
            one_round(program, people, chance.uniform(_LEAST_S, _MOST_S))
        program.start()
        with RegistryCaller(program.facts["address"]) as caller:
            caller.check()
            for person in people:
                person.catch_up(caller)
            caller.wait_recorded()
            told = sum(len(person.registered) for person in people)
            moved = sum(len(moves) for person in people for moves in person.moves.values())
            print(f"{_KILLS} kills: {told} versions and {moved} alias moves, none lost, none wrong")
            assert told > _KILLS / 10 and moved > _KILLS / 2  # so that something was under way; a slow host does less
        assert program.stop() == 0
    finally:
        program.kill()
