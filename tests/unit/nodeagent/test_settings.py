import pytest

from nodeagent.settings import AgentSettings


def test_the_defaults_run_a_node_beside_its_controller() -> None:
    settings = AgentSettings.load([])
    assert (settings.controller, settings.address, settings.cores) == ("127.0.0.1:8010", None, None)
    assert (settings.on_stop, settings.replicas_per_core, settings.max_message_bytes) == ("stop", 1, 256 << 20)
    assert settings.node


def test_flags_are_read() -> None:
    settings = AgentSettings.load(
        ["--controller", "yard:9", "--address", "10.0.0.7", "--cores", "0-3,6", "--on-stop", "keep", "--node", "gpu1"]
    )
    assert (settings.controller, settings.address, settings.cores) == ("yard:9", "10.0.0.7", "0-3,6")
    assert (settings.on_stop, settings.node) == ("keep", "gpu1")


def test_gpus_are_offered_unless_told_otherwise() -> None:
    settings = AgentSettings.load([])
    assert (settings.gpus, settings.ignored_xids) == ("all", ())
    settings = AgentSettings.load(["--gpus", "0,2:1", "--ignored-xids", "74,62"])
    assert (settings.gpus, settings.ignored_xids) == ("0,2:1", (74, 62))


def test_a_server_may_use_all_its_time_to_drain_before_it_is_killed() -> None:
    settings = AgentSettings.load(["--drain-timeout-s", "12", "--start-timeout-s", "7", "--probe-interval-s", "0.5"])
    limits = settings.replica_limits()
    assert limits.drain_timeout_s > settings.drain_timeout_s
    assert (limits.start_timeout_s, limits.probe_interval_s) == (7.0, 0.5)


@pytest.mark.parametrize(
    ("flag", "value", "sentence"),
    [
        ("--address", "gpu1", "does not appear to be an IPv4 or IPv6 address"),
        ("--cores", "a-b", "as in 0-3,6"),
        ("--gpus", "all,0", "wanted all, none, or UUIDs and indices"),
        ("--ignored-xids", "79,x", "valid integer"),
        ("--controller", "8010", "wanted HOST:PORT"),
        ("--on-stop", "pause", "'stop' or 'keep'"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_wanted(
    flag: str, value: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        AgentSettings.load([flag, value])
    said = capsys.readouterr().err
    assert flag in said and sentence in said
