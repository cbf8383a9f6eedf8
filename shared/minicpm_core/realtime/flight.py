"""The units that were sent and are not answered yet."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from minicpm_core.realtime.client_events import InputAppend

if TYPE_CHECKING:
    from minicpm_core.realtime.client_events import ChatAppend


class Flight:
    """Which they are, oldest first.

    Servers answer in order, so an answer to one is an answer to all before it.

    Args:
        keep: Whether to hold on to the units themselves, which must be bounded then: see `room`.
        bound: For how many there is room.

    Attributes:
        over: Whether no more answers come.
    """

    def __init__(self, *, keep: bool, bound: int) -> None:
        self._keep = keep
        self._bound = bound
        self._units: deque[tuple[str | None, InputAppend | None]] = deque()
        self._changed = asyncio.Event()
        self.over = False

    def __len__(self) -> int:
        """How many they are."""
        return len(self._units)

    def sent(self, event: InputAppend | ChatAppend) -> None:
        """One more."""
        kept = event if self._keep and isinstance(event, InputAppend) else None
        self._units.append((event.input_id, kept))

    def answered(self, input_id: str | None) -> None:
        """The server has come to one; to which, where it does not say so, is not known: then to all of them."""
        if input_id is None:
            self._units.clear()
        elif any(name == input_id for name, _ in self._units):
            while self._units.popleft()[0] != input_id:
                pass
        self._changed.set()

    def answered_one(self) -> None:
        """The server has come to the oldest: for servers that name none, but say one thing about each."""
        if self._units:
            self._units.popleft()
        self._changed.set()

    def unsent(self) -> list[InputAppend]:
        """Those that another session has to answer. They are not in flight any more."""
        units = [unit for _, unit in self._units if unit is not None]
        self._units.clear()
        self._changed.set()
        return units

    async def room(self) -> None:
        """Wait until another one can be held on to, if they are at all."""
        while self._keep and len(self._units) >= self._bound:
            await self._change()

    async def landed(self) -> None:
        """Wait until all are answered, or none will be any more."""
        while self._units and not self.over:
            await self._change()

    def end(self) -> None:
        """No more answers come."""
        self.over = True
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
