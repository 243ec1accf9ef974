"""`python -m nodeagent.modelserver`: one model server, started for its model, or as a spare that is told of one."""

import os
import sys

# gRPC's newer way to wait for sockets, the default for Python since 1.80, takes a fifth more CPU for a small request.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")

from nodeagent.modelserver.spare import main_arguments

sys.argv[1:] = main_arguments(sys.argv[1:])  # a spare imports the rest only when its priority is low

from nodeagent.modelserver.main import main  # noqa: E402

main()
