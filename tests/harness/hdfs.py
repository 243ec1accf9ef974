"""A real HDFS of its own, a NameNode and a DataNode on free ports: nothing of it is left afterwards.

The programs come from `scripts/fetch_hdfs`.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from xml.sax.saxutils import escape

from hdfs_native import Client, WriteOptions

from tests.harness.programs import wait_for

PROGRAMS = Path(__file__).parents[2] / ".cache" / "hdfs"
_START_TIMEOUT_S = 90.0
_PACKAGE = "org.apache.hadoop.hdfs.server"
# Hadoop 2.7 is older than the walls between Java's modules.
_JAVA_OPTIONS = [
    *("--add-opens", "java.base/java.lang=ALL-UNNAMED"),
    *("--add-opens", "java.security.jgss/sun.security.krb5=ALL-UNNAMED"),
    *("-Xmx256m", "-Djava.net.preferIPv4Stack=true", "-XX:TieredStopAtLevel=1"),
]
_FAIL_FAST = {"dfs.client.failover.max.attempts": "1", "ipc.client.connect.max.retries": "1"}


class Hdfs:
    """`url` is that of its root. Each of the two can be killed and started again; it keeps its port and its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = _free_port()
        self._programs: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"hdfs://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns once a file can be written. Raises RuntimeError with the logs where that does not come."""
        self._write_configuration()
        self._launch("format", f"{_PACKAGE}.namenode.NameNode", "-format", "-force", "-nonInteractive").wait()
        self.start_namenode()
        self.start_datanode()

    def start_namenode(self) -> None:
        self._programs["namenode"] = self._launch("namenode", f"{_PACKAGE}.namenode.NameNode")
        self._wait(lambda: bool(self._client().get_file_info("/").isdir), "a NameNode")

    def start_datanode(self) -> None:
        self._programs["datanode"] = self._launch("datanode", f"{_PACKAGE}.datanode.DataNode")
        self._wait(self._can_write, "a DataNode")

    def kill_namenode(self) -> None:
        """SIGKILL."""
        self._kill("namenode")

    def kill_datanode(self) -> None:
        self._kill("datanode")

    def stop(self) -> None:
        """At once: what it keeps is of no use to anybody."""
        for name in list(self._programs):
            self._kill(name)

    def list_files(self) -> dict[str, int]:
        """The size of each file, by its path."""
        statuses = self._client().list_status("/", recursive=True)
        return {status.path: status.length for status in statuses if not status.isdir}

    def overwrite(self, path: str, content: bytes) -> None:
        """Damages a file."""
        client = self._client()
        client.delete(path)
        with client.create(path) as file:
            file.write(content)

    def _write_configuration(self) -> None:
        here = "127.0.0.1:0"
        settings = {
            "fs.defaultFS": self.url,
            "hadoop.tmp.dir": str(self._folder / "data"),
            "dfs.replication": "1",
            "dfs.permissions.enabled": "false",
            "dfs.namenode.safemode.extension": "0",
            "dfs.namenode.http-address": here,
            "dfs.datanode.address": here,
            "dfs.datanode.ipc.address": here,
            "dfs.datanode.http.address": here,
            "dfs.heartbeat.interval": "1",
            # A lost DataNode is found out after 2 of these and 10 heartbeats.
            "dfs.namenode.heartbeat.recheck-interval": "500",
            "dfs.namenode.fs-limits.min-block-size": "1024",
        }
        rows = [
            f"<property><name>{name}</name><value>{escape(value)}</value></property>"
            for name, value in settings.items()
        ]
        for file in ("core-site.xml", "hdfs-site.xml"):
            (self._folder / file).write_text(f"<configuration>{''.join(rows)}</configuration>\n")
        (self._folder / "log4j.properties").write_text(
            "log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.out.layout.ConversionPattern=%d %p %c: %m%n\n"
        )

    def _launch(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        bundled = PROGRAMS / "java" / "bin" / "java"
        java = str(bundled) if bundled.exists() else "java"
        class_path = f"{self._folder}:{PROGRAMS}:{PROGRAMS}/jars/*"
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [java, *_JAVA_OPTIONS, f"-Djava.io.tmpdir={self._folder}", "-cp", class_path, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, "HADOOP_CONF_DIR": str(self._folder)},
                start_new_session=True,
            )

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        def holds() -> bool:
            with suppress(OSError, RuntimeError):
                return condition()
            return False

        try:
            wait_for(holds, what, _START_TIMEOUT_S)
        except AssertionError as error:
            logs = "\n".join(file.read_text()[-3000:] for file in self._folder.glob("*.log"))
            raise RuntimeError(f"{error}:\n{logs}") from None

    def _can_write(self) -> bool:
        client = self._client()
        # A probe that failed has left its name.
        with client.create("/.probe", WriteOptions(overwrite=True)) as file:
            file.write(b"1")
        return bool(client.delete("/.probe"))

    def _client(self) -> Client:
        return Client(self.url, _FAIL_FAST)

    def _kill(self, name: str) -> None:
        if program := self._programs.pop(name, None):
            program.kill()
            program.wait()


def why_not() -> str:
    """Why no HDFS can be started here; "": one can."""
    if not (PROGRAMS / "complete").exists():
        return "no HDFS here: scripts/fetch_hdfs brings one (it needs apt-get and PyPI)"
    if not (PROGRAMS / "java").exists() and shutil.which("java") is None:
        return "no HDFS here: there is no java; remove .cache/hdfs and run scripts/fetch_hdfs"
    return ""


@contextmanager
def running_hdfs() -> Iterator[Hdfs]:
    with tempfile.TemporaryDirectory(prefix="modelyard-hdfs-") as folder:
        hdfs = Hdfs(Path(folder))
        try:
            hdfs.start()
            yield hdfs
        finally:
            hdfs.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
