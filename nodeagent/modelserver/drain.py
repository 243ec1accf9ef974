"""How a model server ends: not before everybody has stopped asking."""

import asyncio
import time

from nodeagent.modelserver.admission import Admission


async def wait_until_quiet(admission: Admission, quiet_s: float) -> None:
    """Returns when nothing has been in flight for `quiet_s` seconds, counted from this call at the earliest.

    A proxy that has not heard yet goes on sending for a moment. It must see answers, not a closed connection.
    """
    called = time.monotonic()
    while True:
        await admission.wait_idle()
        left = max(called, admission.idle_since) + quiet_s - time.monotonic()
        if left <= 0:
            return
        await asyncio.sleep(left)
