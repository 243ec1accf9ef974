"""The built-in model server as if it computed on a GPU: a client of the MPS daemon that its environment names.

Started as a file of its own: python -P gpu_server.py FLAGS OF THE MODEL SERVER
"""

import atexit
import os
import socket
import sys

from nodeagent.modelserver.main import main


def join_mps() -> None:
    """Does nothing where there is no daemon, as CUDA does."""
    daemon = socket.socket(socket.AF_UNIX)
    try:
        daemon.connect(f"{os.environ['CUDA_MPS_PIPE_DIRECTORY']}/control")
    except OSError:
        return
    daemon.sendall(f"client {os.getpid()}\n".encode())
    if not daemon.recv(100):
        sys.exit("CUDA error 807: the MPS server is not ready to accept new MPS client requests")
    atexit.register(leave_mps, daemon)


def leave_mps(daemon: socket.socket) -> None:
    daemon.sendall(b"bye\n")
    daemon.close()


if __name__ == "__main__":
    join_mps()
    main()
