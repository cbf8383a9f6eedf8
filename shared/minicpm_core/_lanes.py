"""Lanes: httpx transports that carry one call at a time, and the pools that lend them.

A call takes the lane that was used last, or a new one, and gives it back when the answer was read to its end.  After
anything else (an error, a cancelled task, a stream that was left) the lane is closed, so that nothing half-done is ever
used again.  One transport for many calls would be simpler, but costs the square of their number and keeps what a
cancelled call left behind: see docs/decisions/0003-connection-pools.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import WeakSet

from minicpm_core.errors import APITimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    import httpx

KEEP_SECONDS = 15.0
"""How long an idle connection is kept. One that the server closed earlier is noticed and replaced."""

T = TypeVar("T")


class Lane(Generic[T]):
    """An httpx transport that carries one call at a time.

    Attributes:
        origin: Scheme, host and port that it leads to.
        transport: To send with.
        used: It has carried a call, so that its connection may be one that the server has closed meanwhile.
        free_since: When it was given back, on the monotonic clock.
    """

    __slots__ = ("_network", "free_since", "origin", "transport", "used")

    def __init__(self, origin: str, transport: T) -> None:
        self.origin = origin
        self.transport = transport
        self.used = False
        self.free_since = 0.0
        self._network: Any = None

    def watch(self, extensions: dict[str, Any]) -> None:
        """Have httpx tell of the TCP connection as soon as there is one, if TLS will be negotiated on it.

        A transport does not know the connection before that, and leaves it open when it is cancelled meanwhile.
        """
        if not self.used and self.origin.startswith("https:"):
            extensions["trace"] = self._trace

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._network = info["return_value"]

    async def aclose(self: Lane[httpx.AsyncBaseTransport]) -> None:
        """Close an asynchronous lane."""
        await _quietly(self.transport.aclose)
        if self._network is not None:
            await _quietly(self._network.aclose)


class _Pool(Generic[T]):
    """Lanes to any number of origins.

    There is no lock: a stream that the garbage collector finds gives its lane back in the middle of whatever this
    thread was doing.  Every step is a single operation of a deque, dict or set.

    Args:
        make: Makes a transport that goes through the given proxy.
        proxy_for: Tells the proxy for an origin.
    """

    def __init__(self, make: Callable[[str | None], T], proxy_for: Callable[[str], str | None]) -> None:
        self._make = make
        self._proxy_for = proxy_for
        self._proxies: dict[str, str | None] = {}
        self._idle: dict[str, deque[Lane[T]]] = {}
        self.lanes: set[Lane[T]] = set()
        self.users: WeakSet[Any] = WeakSet()
        self.closed = False

    def _last_used(self, origin: str) -> Lane[T]:
        """The idle lane that was used last, or a new one."""
        with contextlib.suppress(KeyError, IndexError):
            return self._idle[origin].pop()
        if origin not in self._proxies:
            self._proxies[origin] = self._proxy_for(origin)
        lane = Lane(origin, self._make(self._proxies[origin]))
        self.lanes.add(lane)
        return lane

    def _put_back(self, lane: Lane[T]) -> list[Lane[T]]:
        """Make a lane idle, and take out those that nobody has needed for long."""
        lane.used = True
        lane.free_since = time.monotonic()
        self._idle.setdefault(lane.origin, deque()).append(lane)
        if self.closed:
            return self.take_idle()
        long_ago = lane.free_since - KEEP_SECONDS
        spent: list[Lane[T]] = []
        for idle in list(self._idle.values()):
            with contextlib.suppress(IndexError):
                while idle[0].free_since < long_ago:
                    spent.append(idle.popleft())
        return spent

    def take_idle(self, origin: str | None = None) -> list[Lane[T]]:
        """Take the idle lanes out, of one origin or all, for closing."""
        taken: list[Lane[T]] = []
        for key, idle in list(self._idle.items()):
            with contextlib.suppress(IndexError):
                while origin in {None, key}:
                    taken.append(idle.pop())
        return taken

    def _gone(self, lane: Lane[T]) -> None:
        self.lanes.discard(lane)
        if not self.lanes:
            retired.discard(self)


retired: set[_Pool[Any]] = set()
"""Closed pools whose lanes are not all given back. A socket that only a dropped stream refers to would be collected
together with it, before the stream could close it."""


class SyncPool(_Pool["httpx.BaseTransport"]):
    """The lanes of all threads of a process."""

    def take(self, origin: str) -> Lane[httpx.BaseTransport]:
        """A lane to make one call with."""
        return self._last_used(origin)

    def give(self, lane: Lane[httpx.BaseTransport], *, finished: bool) -> None:
        """Give a lane back. `finished`: its last answer was read to the end."""
        self.close(self._put_back(lane) if finished else [lane])

    def close(self, lanes: Iterable[Lane[httpx.BaseTransport]]) -> None:
        """Close lanes that were taken."""
        for lane in lanes:
            lane.transport.close()
            self._gone(lane)

    def retire(self) -> None:
        """Close what is idle now, and everything else when it is given back."""
        self.closed = True
        retired.add(self)
        self.close(self.take_idle())
        if not self.lanes:
            retired.discard(self)


class AsyncPool(_Pool["httpx.AsyncBaseTransport"]):
    """The lanes of one event loop.

    They end with it: an asynchronous generator, which `asyncio.run` closes before the loop, closes the connections, so
    that no socket is left to the garbage collector.

    Args:
        make: As above.
        proxy_for: As above.
        most: How many lanes may be taken at once.
    """

    def __init__(
        self,
        make: Callable[[str | None], httpx.AsyncBaseTransport],
        proxy_for: Callable[[str], str | None],
        most: int,
    ) -> None:
        super().__init__(make, proxy_for)
        self._places = asyncio.Semaphore(most)
        self._guard: AsyncGenerator[None, None] | None = None

    async def open(self, forget: Callable[[], None]) -> None:
        """Be closed with the loop, and call `forget` then."""
        self._guard = _close_with_loop(self, forget)
        await anext(self._guard)

    async def take(self, origin: str, timeout: float | None) -> Lane[httpx.AsyncBaseTransport]:  # noqa: ASYNC109
        """A lane to make one call with, within `timeout` seconds.

        Raises:
            APITimeoutError: All were busy for so long.
        """
        if self._places.locked():
            await self._queue(timeout)
        else:
            await self._places.acquire()
        try:
            return self._last_used(origin)
        except BaseException:
            self._places.release()
            raise

    async def _queue(self, timeout: float | None) -> None:  # noqa: ASYNC109
        try:
            async with asyncio.timeout(timeout):
                await self._places.acquire()
        except TimeoutError:
            message = f"No connection became free within {timeout:g} s. Make fewer calls at once, or raise timeout."
            raise APITimeoutError(message, phase="pool") from None

    async def give(self, lane: Lane[httpx.AsyncBaseTransport], *, finished: bool) -> None:
        """Give a lane back. `finished`: its last answer was read to the end."""
        self._places.release()
        spent = self._put_back(lane) if finished else [lane]
        if spent:
            await self.close(spent)

    async def close(self, lanes: Iterable[Lane[httpx.AsyncBaseTransport]]) -> None:
        """Close lanes that were taken, even if the task that does it is cancelled meanwhile."""
        await run_to_end(partial(self._close, list(lanes)))

    async def _close(self, lanes: list[Lane[httpx.AsyncBaseTransport]]) -> None:
        for lane in lanes:
            await lane.aclose()
            self._gone(lane)

    async def retire(self) -> None:
        """Close what is idle now, and everything else when it is given back or the loop ends."""
        self.closed = True
        retired.add(self)
        await self.close(self.take_idle())
        if self._guard is not None and not self.lanes:
            await self._guard.aclose()


async def _close_with_loop(pool: AsyncPool, forget: Callable[[], None]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        forget()
        await asyncio.gather(*(lane.aclose() for lane in list(pool.lanes)))
        pool.lanes.clear()
        retired.discard(pool)


_closing: set[asyncio.Task[None]] = set()


class Closing(Protocol):
    """A coroutine function that closes something."""

    async def __call__(self) -> None:
        """Close."""


async def run_to_end(close: Closing) -> None:
    """Close something in a task of its own, so that cancelling the task that waits does not stop it half-way."""
    await asyncio.shield(_start(close))


def close_soon(loop: asyncio.AbstractEventLoop, close: Closing) -> None:
    """Close something as soon as the loop runs; from any thread, and from the garbage collector."""
    with contextlib.suppress(RuntimeError):  # the loop is closed, and so is what it held
        loop.call_soon_threadsafe(_start, close)


def _start(close: Closing) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(_quietly(close))
    _closing.add(task)  # a loop holds its tasks weakly
    task.add_done_callback(_closing.discard)
    return task


async def _quietly(close: Closing) -> None:
    with contextlib.suppress(Exception):  # it is being thrown away: that it was broken already changes nothing
        await close()
