"""The queue before the workers: who comes first is served first, and is told the place meanwhile."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from minicpm_core.emulator.realtime.settings import RealtimeEmulation

Tell: TypeAlias = "Callable[[dict[str, Any]], Awaitable[None]]"

_NEWS = 3.0
"""Seconds between two words on the place in the queue, as the gateway has it."""
_SERVED = 60.0
"""Seconds that a session is taken to last, for the estimate."""


class Desk:
    """Workers, and who waits for one. All of it happens in one event loop.

    Args:
        settings: How many workers there are, and how many may wait.
    """

    def __init__(self, settings: RealtimeEmulation) -> None:
        self._settings = settings
        self._busy = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._released: list[float] = []

    @property
    def is_full(self) -> bool:
        """Whether nobody more may wait."""
        return self._busy >= self._settings.workers and len(self._waiting) >= self._settings.queue_size

    @asynccontextmanager
    async def worker(self, tell: Tell, *, held: float | None = None) -> AsyncGenerator[None, None]:
        """A worker of one's own.

        Args:
            tell: Told the place in the queue, where there is one.
            held: Seconds to wait although one is free; `None` for none.
        """
        if held is not None or self._busy >= self._settings.workers or self._waiting:
            await self._queue(tell, held)
        else:
            self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._next()

    def dropped(self) -> None:
        """A connection was dropped: its worker takes its time until it notices."""
        if self._settings.release:
            self._released.append(asyncio.get_running_loop().time() + self._settings.release / self._settings.speed)

    @property
    def is_racing(self) -> bool:
        """Whether the worker that was just assigned has not noticed yet that its last session is over."""
        now = asyncio.get_running_loop().time()
        self._released = [until for until in self._released if until > now]
        return self._busy + len(self._released) > self._settings.workers

    async def _queue(self, tell: Tell, held: float | None) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if held is not None:
            asyncio.get_running_loop().call_later(held / self._settings.speed, self._let_in, turn)
        self._waiting.append(turn)
        try:
            await tell({"type": "session.queued", **self._place(turn), "ticket_id": f"q_{uuid.uuid4().hex[:12]}"})
            while not (await asyncio.wait({turn}, timeout=_NEWS / self._settings.speed))[0]:
                await tell({"type": "session.queue_update", **self._place(turn)})
        except BaseException:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():
                self._busy -= 1
                self._next()
            raise

    def _place(self, turn: asyncio.Future[None]) -> dict[str, Any]:
        position = self._waiting.index(turn) + 1 if turn in self._waiting else 1
        wait = _SERVED * position if self._settings.workers else 0.0
        return {"position": position, "estimated_wait_s": wait, "queue_length": max(len(self._waiting), position)}

    def _next(self) -> None:
        while self._waiting and self._busy < self._settings.workers:
            self._let_in(self._waiting[0])

    def _let_in(self, turn: asyncio.Future[None]) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
            self._busy += 1
            turn.set_result(None)
