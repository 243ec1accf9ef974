"""`python -m tests.harness.patient_agent`: the node agent, which gives nothing up that is only late.

It goes on without a spare, a reader of a log or NVIDIA's driver where they keep it waiting for a second or three. On a
machine that is busy with other tests they may, though nothing is wrong with them.
"""

from nodeagent import __main__ as program
from nodeagent import main, spare_server
from nodeagent.devices import gpu_watch

PATIENCE_S = 25.0  # a test waits a little longer for the end of an agent

if __name__ == "__main__":
    vars(spare_server)["_HAND_OVER_TIMEOUT_S"] = PATIENCE_S
    vars(spare_server)["_END_TIMEOUT_S"] = PATIENCE_S
    vars(main)["_LAST_WORDS_S"] = PATIENCE_S
    vars(gpu_watch)["_STOP_TIMEOUT_S"] = PATIENCE_S
    program.main()
