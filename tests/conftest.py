"""For all tests."""

import signal

from hypothesis import HealthCheck, settings

# An example that takes long says nothing but that the machine has other work. Of the profile that is chosen so far (on
# a CI machine Hypothesis has one of its own) all else stays.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# A shell that starts the tests in the background has its children ignore Ctrl-C, and theirs would in turn.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
