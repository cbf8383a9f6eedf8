"""A bounded queue between tasks of one event loop, which can be closed and cleared out.

(`asyncio.Queue` can be shut down as of Python 3.13 only, and never cleared out in part.)
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


class MailboxClosedError(Exception):
    """Nothing can be put in any more, or nothing is left."""


class Mailbox(Generic[T]):
    """Holds things until they are taken, in their order. Cancelling a wait loses nothing.

    Args:
        bound: How many it holds; whoever puts in more waits.
    """

    def __init__(self, bound: int) -> None:
        self._bound: float = bound
        self._items: deque[T] = deque()
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        """How many things wait."""
        return len(self._items)

    async def put(self, item: T) -> None:
        """Put something in, when there is room.

        Raises:
            MailboxClosedError: It is closed.
        """
        while len(self._items) >= self._bound and not self._closed:
            await self._change()
        if self._closed:
            raise MailboxClosedError
        self.put_now(item)

    def put_now(self, item: T) -> None:
        """Put something in, whether or not there is room."""
        self._items.append(item)
        self._wake()

    async def get(self) -> T:
        """Take the oldest thing, when there is one. What is left in a closed one can be taken still.

        Raises:
            MailboxClosedError: It is closed and empty.
        """
        await self.filled()
        return self.take_now()

    async def filled(self) -> None:
        """Wait until there is something to take.

        Raises:
            MailboxClosedError: It is closed and empty.
        """
        while not self._items:
            if self._closed:
                raise MailboxClosedError
            await self._change()

    def take_now(self) -> T:
        """Take the oldest thing, which must be there."""
        item = self._items.popleft()
        self._wake()
        return item

    def put_back(self, items: Iterable[T]) -> None:
        """Put things that were taken where they were, in their order, whether or not there is room."""
        self._items.extendleft(reversed(list(items)))
        self._wake()

    def hold(self, bound: float) -> None:
        """Hold so many from now on; infinite for all there are."""
        self._bound = bound
        self._wake()

    async def empty(self) -> None:
        """Wait until all was taken, or it is closed."""
        while self._items and not self._closed:
            await self._change()

    def discard(self, unwanted: Callable[[T], bool] = lambda _: True) -> None:
        """Throw away what is not wanted any more."""
        self._items = deque(item for item in self._items if not unwanted(item))
        self._wake()

    def close(self) -> None:
        """Take nothing more in."""
        self._closed = True
        self._wake()

    async def change(self) -> None:
        """Wait until something is put in or taken, or somebody nudges.

        Raises:
            MailboxClosedError: It is closed and empty.
        """
        if self._closed and not self._items:
            raise MailboxClosedError
        await self._change()

    def nudge(self) -> None:
        """Wake those who wait, so that they look again."""
        self._wake()

    async def _change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
