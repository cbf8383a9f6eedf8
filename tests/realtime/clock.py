"""A clock that goes when a test says so."""

from __future__ import annotations

import asyncio


class ManualClock:
    """Stands still until it is advanced."""

    def __init__(self) -> None:
        self.time = 0.0
        self._sleepers: dict[asyncio.Future[None], float] = {}
        self._news = asyncio.Event()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        self._sleepers[waiter] = self.time + seconds
        self._news.set()
        try:
            await waiter
        finally:
            del self._sleepers[waiter]

    async def advance_to(self, when: float) -> None:
        """Once somebody sleeps until then (and not before: all is settled), make it then."""
        while not any(abs(until - when) < 1e-6 for until in self._sleepers.values()):
            self._news.clear()
            await self._news.wait()
        self.set(when)

    def set(self, when: float) -> None:
        """Make it then, whoever sleeps."""
        self.time = max(when, self.time)
        for waiter, until in list(self._sleepers.items()):
            if until <= self.time + 1e-6 and not waiter.done():
                waiter.set_result(None)
