"""A controller that is killed at the n-th step of one call: `python -m tests.faults.dying_controller METHOD N OPTIONS`.

A step is whatever may leave something behind: a file that is made, renamed or removed, a folder, an fsync, a child
process, an SQL statement that writes, a commit (before it and after it). Steps count from the first call of METHOD of
RegistryService on; where the call has fewer than N of them the controller lives on.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.default import DefaultDialect

_AUDITED = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.link", "os.truncate", "subprocess.Popen"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_READING_SQL = ("SELECT", "PRAGMA", "BEGIN")


class Steps:
    def __init__(self, last: int) -> None:
        self._left = last
        self._is_counting = False

    def begin(self) -> None:
        self._is_counting = True

    def step(self) -> None:
        if self._is_counting:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _AUDITED or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING):
            self.step()

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*arguments: Any) -> Any:
            self.step()
            result = act(*arguments)
            self.step()
            return result

        return stepped


def _count_statements(steps: Steps) -> None:
    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def execute(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if not statement.lstrip().upper().startswith(_READING_SQL):
            steps.step()


def _begin_at(method: str, steps: Steps) -> None:
    from controlplane.servicers.registry import RegistryServicer

    original = getattr(RegistryServicer, method)

    def begin(*arguments: Any) -> Any:
        steps.begin()
        return original(*arguments)

    setattr(RegistryServicer, method, begin)


def main() -> None:
    method, last = sys.argv.pop(1), int(sys.argv.pop(1))
    steps = Steps(last)
    _begin_at(method, steps)
    _count_statements(steps)
    DefaultDialect.do_commit = steps.around(DefaultDialect.do_commit)  # type: ignore[method-assign]
    os.fsync = steps.around(os.fsync)
    sys.addaudithook(steps.audit)
    from controlplane.__main__ import main as run_controller

    run_controller()


if __name__ == "__main__":
    main()
