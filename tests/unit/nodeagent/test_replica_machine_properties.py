"""What must hold whatever happens in whatever order."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nodeagent.replica_commands import (
    CancelFetch,
    Command,
    FetchArtifact,
    Kill,
    Launch,
    Probe,
    Terminate,
)
from nodeagent.replica_events import (
    Adopted,
    DeviceLost,
    Due,
    Event,
    Exited,
    Fetched,
    FetchFailed,
    Launched,
    LaunchFailed,
    Listening,
    MemoryRead,
    NoPulse,
    ProbeFailed,
    ProbeOk,
    Pulse,
    Unwanted,
    Wanted,
)
from nodeagent.replica_machine import handle
from nodeagent.replica_state import Limits, Replica, State
from nodeagent.replica_steps import compute_backoff_s

LIMITS = Limits(start_timeout_s=20.0, drain_timeout_s=10.0)


class World(RuleBasedStateMachine):
    """One replica, and a host on which everything that a command begins may end well, badly, late or never."""

    def __init__(self) -> None:
        super().__init__()
        self.replica = Replica()
        self.now = 0.0
        self.fetching = False
        self.launching: list[int] = []
        self.processes: dict[int, bool] = {}  # launch: was it asked to end
        self.probes: list[int] = []

    def tell(self, event: Event) -> None:
        self.replica, commands = handle(self.replica, event, self.now, LIMITS)
        for command in commands:
            self.perform(command)

    def perform(self, command: Command) -> None:
        match command:
            case FetchArtifact():
                assert not self.fetching
                self.fetching = True
            case CancelFetch():
                self.fetching = False
            case Launch(launch):
                assert not self.processes, "two processes of one replica"
                assert not self.launching, "two launches of one replica"
                self.launching.append(launch)
            case Probe(launch, timeout_s):
                assert launch in self.processes
                assert timeout_s > 0
                self.probes.append(launch)
            case Terminate() | Kill():
                assert len(self.processes) == 1
                self.processes = dict.fromkeys(self.processes, True)

    @initialize(adopted=st.booleans(), port=st.sampled_from([0, 4000]))
    def begin(self, adopted: bool, port: int) -> None:
        if adopted:
            self.processes[1] = False
        self.tell(Adopted(port, restarts=0) if adopted else Wanted())

    @precondition(lambda self: self.fetching)
    @rule(well=st.booleans())
    def fetch_ends(self, well: bool) -> None:
        self.fetching = False
        self.tell(Fetched() if well else FetchFailed("away"))

    @precondition(lambda self: self.launching)
    @rule(well=st.booleans())
    def launch_ends(self, well: bool) -> None:
        launch = self.launching.pop()
        if well:
            self.processes[launch] = False
        self.tell(Launched(launch) if well else LaunchFailed(launch, "no"))

    @precondition(lambda self: self.processes and self.replica.port == 0)
    @rule()
    def listens(self) -> None:
        self.tell(Listening(next(iter(self.processes)), 4000))

    @precondition(lambda self: self.probes)
    @rule(well=st.booleans(), took_s=st.floats(0, 10))
    def probe_ends(self, well: bool, took_s: float) -> None:
        launch = self.probes.pop(0)
        self.tell(ProbeOk(launch, took_s) if well else ProbeFailed(launch, "no answer"))

    @precondition(lambda self: self.processes and self.replica.port)
    @rule(
        looks=st.integers(1, 12), states=st.sampled_from(["S", "SR", "TT", "SD"]), cpu_share=st.sampled_from([0.0, 1.0])
    )
    def is_silent(self, looks: int, states: str, cpu_share: float) -> None:
        for _ in range(looks):
            self.tell(NoPulse(next(iter(self.processes)), states, cpu_share))

    @precondition(lambda self: self.processes)
    @rule(looks=st.integers(1, 5), used_bytes=st.sampled_from([0, 50, 101, 1000]), is_stated=st.booleans())
    def holds_memory(self, looks: int, used_bytes: int, is_stated: bool) -> None:
        for _ in range(looks):
            self.tell(MemoryRead(next(iter(self.processes)), used_bytes, 100, is_stated))

    @precondition(lambda self: self.processes and self.replica.port)
    @rule()
    def answers(self) -> None:
        self.tell(Pulse(next(iter(self.processes))))

    @precondition(lambda self: self.processes)
    @rule()
    def process_ends(self) -> None:
        launch, _ = self.processes.popitem()
        self.tell(Exited(launch, "ended"))

    @rule(seconds=st.floats(0, 70))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.tell(Due())

    @precondition(lambda self: self.replica.state is not State.NEW)
    @rule()
    def device_is_lost(self) -> None:
        self.tell(DeviceLost("its daemon ended"))

    @precondition(lambda self: self.replica.state is not State.NEW)
    @rule()
    def is_unwanted(self) -> None:
        self.tell(Unwanted())

    @invariant()
    def ready_means_a_living_process_and_a_port(self) -> None:
        if self.replica.state is State.READY:
            assert self.processes
            assert self.replica.port

    @invariant()
    def something_will_happen(self) -> None:
        """No state is a dead end: a timer, or something whose end is told, is always under way."""
        if self.replica.state not in (State.NEW, State.STOPPED):
            under_way = self.fetching or self.launching or self.probes or any(self.processes.values())
            assert under_way or self.replica.wake_at is not None

    def teardown(self) -> None:
        """Whatever it went through, once unwanted it stops, and no process is left."""
        if self.replica.state is State.NEW:
            return
        self.tell(Unwanted())
        self.fetching = False
        if self.launching:
            self.launch_ends(well=True)
        if self.processes:
            self.now += LIMITS.drain_timeout_s
            self.tell(Due())
            assert all(self.processes.values()), "a process that nobody asked to end"
            self.process_ends()
        assert self.replica.state is State.STOPPED


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=200, deadline=None)


@given(st.integers(1, 10_000))
def test_the_pause_never_shrinks_and_never_passes_its_limit(failures: int) -> None:
    pause = compute_backoff_s(failures, LIMITS)
    assert LIMITS.backoff_first_s <= pause <= compute_backoff_s(failures + 1, LIMITS) <= LIMITS.backoff_max_s
