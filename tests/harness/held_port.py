"""A port of 127.0.0.1 that nobody is given by chance, such as a server of another test at the same time."""

import socket


def hold_port(port: int = 0) -> socket.socket:
    """Bound to the port, a free one for 0, and never listening: to be closed where it is no longer needed.

    Connections are refused until somebody listens there, who has to ask for this very port, with SO_REUSEADDR as gRPC,
    asyncio and Envoy do. He may come and go.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    return held
