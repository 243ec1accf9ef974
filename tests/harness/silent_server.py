"""A server that takes connections and never says a word."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class SilentServer:
    """On 127.0.0.1."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._connections: list[socket.socket] = []

    def has_connections(self) -> bool:
        return bool(self._connections)

    def accept_all(self) -> None:
        """Until the listener is shut down."""
        with contextlib.suppress(OSError):
            while True:
                self._connections.append(self._listener.accept()[0])

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@contextlib.contextmanager
def silent_server() -> Iterator[SilentServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.closing(SilentServer(listener)) as server:
        accepting = threading.Thread(target=server.accept_all)
        accepting.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
