"""Many calls at a time, with their results in the order of what was given, and no more read ahead than is under way.

A slow call holds back the results after it, not the calls: twice as many are begun as run at a time.

What was paid for is not thrown away: where a call, or whatever gives the items, raises an error, no further call is
begun, and those under way are waited for.  Threads wait for them whatever ends the work, Ctrl-C included, since they
cannot be stopped; on an event loop they are cancelled where the work itself is cancelled, or left by who asked for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import AsyncIterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar, cast

from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 2


def checked_workers(workers: int) -> int:
    """`workers`, if it is a number of calls.

    Raises:
        ConfigurationError: It is not 1 or more.
    """
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"The number of calls at a time must be 1 or more, not {workers!r}.")
    return workers


def in_order(items: Iterable[T], call: Callable[[T], R], *, workers: int) -> Generator[R]:
    """The results of a call for each item, in order; as many threads work at a time.

    The calls see the context variables of the caller.  Whoever may leave it early has to close it: calls that are under
    way are waited for then, and those that wait are given up.

    Args:
        items: Read as far as is needed.
        call: What is done with each.
        workers: Threads.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="minicpm-captions")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(contextvars.copy_context().run, call, item))
            if len(waiting) >= _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


async def ain_order(
    items: Iterable[T] | AsyncIterable[T],
    call: Callable[[T], Awaitable[R]],
    *,
    workers: int,
    told: Callable[[], object] | None = None,
) -> AsyncGenerator[R]:
    """`in_order` on an event loop.

    Args:
        items: Read as far as is needed.
        call: What is done with each.
        workers: Calls at a time.
        told: Called before each result. What it raises ends the calls as an error of a call does: see above.
    """
    gate = asyncio.Semaphore(workers)
    waiting: deque[asyncio.Task[R]] = deque()
    under_way: set[asyncio.Task[R]] = set()

    async def gated(item: T) -> R:
        async with gate:
            task = cast("asyncio.Task[R]", asyncio.current_task())
            under_way.add(task)
            try:
                return await call(item)
            finally:
                under_way.discard(task)

    async def result() -> R:
        found = await waiting.popleft()
        if told is not None:
            told()
        return found

    try:
        async for item in _each(items):
            waiting.append(asyncio.create_task(gated(item)))
            if len(waiting) >= _AHEAD * workers:
                yield await result()
        while waiting:
            yield await result()
    except (asyncio.CancelledError, GeneratorExit):
        under_way.clear()
        raise
    finally:
        for task in waiting:
            if task not in under_way:
                task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def kept(keep: Callable[..., R], *args: Any) -> R:
    """Do something in a thread that is not to be given up halfway: it is done even where the task is cancelled.

    Args:
        keep: What is done.
        *args: Its arguments.
    """
    keeping = asyncio.get_running_loop().run_in_executor(None, keep, *args)
    try:
        return await asyncio.shield(keeping)
    except asyncio.CancelledError:
        await asyncio.wait({keeping})
        raise


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


class OneAtATime:
    """A lock for each key, so that two threads do not ask for the same caption; the second finds it in the cache."""

    def __init__(self) -> None:
        """No key is locked."""
        self._lock = threading.Lock()
        self._held: dict[str, tuple[threading.Lock, int]] = {}

    def __reduce__(self) -> tuple[type[OneAtATime], tuple[()]]:
        """A copy, or a pickle, holds no locks."""
        return OneAtATime, ()

    @contextlib.contextmanager
    def __call__(self, key: str) -> Generator[None]:
        """Hold the lock of a key."""
        with self._lock:
            lock, users = self._held.get(key, (threading.Lock(), 0))
            self._held[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._held.pop(key)
                if users > 1:
                    self._held[key] = (lock, users - 1)


class AsyncOneAtATime:
    """`OneAtATime` for the tasks of one event loop."""

    def __init__(self) -> None:
        """No key is locked."""
        self._held: dict[str, tuple[asyncio.Lock, int]] = {}

    def __reduce__(self) -> tuple[type[AsyncOneAtATime], tuple[()]]:
        """A copy, or a pickle, holds no locks."""
        return AsyncOneAtATime, ()

    @contextlib.asynccontextmanager
    async def __call__(self, key: str) -> AsyncGenerator[None]:
        """Hold the lock of a key."""
        lock, users = self._held.get(key, (asyncio.Lock(), 0))
        self._held[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._held.pop(key)
            if users > 1:
                self._held[key] = (lock, users - 1)
