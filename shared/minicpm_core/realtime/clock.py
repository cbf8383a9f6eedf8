"""The clock that pacing, silence, limits and metrics go by: the system's, a faster one, or one of a test's own.

The timeouts of `RealtimeTimeouts` do not go by it: they are about a network, which is as slow as it is.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Protocol

from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Clock(Protocol):
    """What a session needs of a clock. Its seconds are those of the sound, however long they last."""

    def now(self) -> float:
        """Seconds since whenever; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait. No time at all if `seconds` is not above 0, but other tasks get their turn."""
        ...


class SystemClock:
    """The system's monotonic clock, or one that goes faster.

    Args:
        speed: Seconds that pass in one: 20 plays ten minutes in thirty seconds, against a server that is as fast.

    Raises:
        ConfigurationError: It is no number above 0.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not (math.isfinite(speed) and speed > 0):
            raise ConfigurationError(f"speed must be a number above 0, not {speed!r:.40}.")
        self.speed = speed

    def now(self) -> float:
        """Seconds since whenever."""
        return time.monotonic() * self.speed

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(max(seconds, 0.0) / self.speed)


async def comes_within(seconds: float, what: Coroutine[object, object, object], *, clock: Clock) -> bool:
    """Whether something comes before a time is up. If not, it is cancelled.

    Args:
        seconds: Of the clock.
        what: The coroutine to run; its error is raised.
        clock: That measures them.
    """
    coming, timer = asyncio.ensure_future(what), asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({coming, timer}, return_when=asyncio.FIRST_COMPLETED)
        if coming.done():
            coming.result()
            return True
        return False
    finally:
        for task in (coming, timer):
            task.cancel()
        await asyncio.gather(coming, timer, return_exceptions=True)
