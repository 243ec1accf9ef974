"""How a model server ends: not before everybody has stopped asking."""

import asyncio
import time

from nodeagent.modelserver.admission import Admission

_STEPS = 6


async def wait_until_quiet(admission: Admission, quiet_s: float) -> None:
    """Returns when nothing has been in flight for `quiet_s` seconds, counted from this call at the earliest.

    A proxy that has not heard yet goes on sending for a moment. It must see answers, not a closed connection. Time in
    which this process was held up proves no quiet: what was sent then is still to be read.
    """
    step_s = quiet_s / _STEPS
    quiet_steps = 0
    while quiet_steps < _STEPS:
        await admission.wait_idle()
        began = time.monotonic()
        await asyncio.sleep(step_s)
        if admission.idle_since > began or not admission.is_idle:
            quiet_steps = 0
        elif time.monotonic() - began < 3 * step_s:
            quiet_steps += 1
