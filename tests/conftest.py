"""For all tests."""

import signal

# A shell that starts the tests in the background has its children ignore Ctrl-C, and theirs would in turn.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
