"""HTTP connections, shared by all clients of a process.

A client object is cheap and made often (frameworks copy models for every configuration), while a connection and an SSL
context (17 ms) are not.  So sockets belong to the process, or for asyncio to the running loop, and client objects only
borrow them.  Nothing in a shared client depends on who uses it: URL, headers, key and timeouts travel with each
request, cookies are refused.

A pool is several small httpx clients.  httpcore looks at every connection of a pool whenever one is taken or given back,
which is quadratic in the number of parallel calls; spread over clients of a few calls each it is not.  See
docs/decisions for the figures.

Asynchronous pools end with their loop: an asynchronous generator, which `asyncio.run` closes before the loop, closes
the connections, so that no socket is left to the garbage collector.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable

    import httpx

CALLS_PER_SHARD = 8
MAX_SHARDS = 64
_KEEPALIVE_SECONDS = 15.0

C = TypeVar("C")
_lock = threading.Lock()
_ssl_context: ssl.SSLContext | None = None


class Shard(Generic[C]):
    """One httpx client of a pool and how many calls it is carrying."""

    __slots__ = ("client", "in_flight", "used")

    def __init__(self, client: C) -> None:
        """Begin idle."""
        self.client = client
        self.in_flight = 0
        self.used = False


class Pool(Generic[C]):
    """A set of httpx clients that share the load.

    Args:
        make: Makes one client.
    """

    __slots__ = ("_lock", "_make", "guard", "shards", "users")

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self.shards: list[Shard[C]] = []
        self.users: WeakSet[Any] = WeakSet()
        self.guard: Any = None

    def take(self) -> Shard[C]:
        """A shard to make a call with: the first that is not busy, a new one, or the least busy."""
        with self._lock:
            for shard in self.shards:
                if shard.in_flight < CALLS_PER_SHARD:
                    break
            else:
                if len(self.shards) < MAX_SHARDS:
                    shard = Shard(self._make())
                    self.shards.append(shard)
                else:
                    shard = min(self.shards, key=lambda each: each.in_flight)
            shard.in_flight += 1
            return shard

    def give(self, shard: Shard[C], *, used: bool) -> None:
        """Give a shard back. `used`: a connection of it went back to its pool."""
        with self._lock:
            shard.in_flight -= 1
            shard.used = shard.used or used


_sync_pool: Pool[httpx.Client] | None = None
_async_pools: dict[asyncio.AbstractEventLoop, Pool[httpx.AsyncClient]] = {}
_of_the_parent: list[Any] = []  # pools that came over a fork: kept, since closing them would write to shared sockets


def shared_ssl_context() -> ssl.SSLContext:
    """The one SSL context, made on first use."""
    global _ssl_context  # noqa: PLW0603 - one a process, as the module says
    import httpx  # noqa: PLC0415 - at the first call, not at import

    with _lock:
        if _ssl_context is None:
            _ssl_context = httpx.create_ssl_context()
        return _ssl_context


def _settings(context: ssl.SSLContext) -> dict[str, Any]:
    import httpx  # noqa: PLC0415

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=_KEEPALIVE_SECONDS)
    return {"verify": context, "limits": limits, "timeout": None}


def _without_cookies(client: Any) -> Any:
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


def sync_pool(user: Any) -> Pool[httpx.Client]:
    """The process's pool, with `user` among those who keep it open."""
    global _sync_pool  # noqa: PLW0603
    context = shared_ssl_context()
    import httpx  # noqa: PLC0415

    with _lock:
        if _sync_pool is None:
            _sync_pool = Pool(lambda: _without_cookies(httpx.Client(**_settings(context))))
        _sync_pool.users.add(user)
        return _sync_pool


def leave_sync_pool(user: Any) -> None:
    """Let go of the pool; the last to leave closes it."""
    global _sync_pool  # noqa: PLW0603
    with _lock:
        pool = _sync_pool
        if pool is None:
            return
        pool.users.discard(user)
        if pool.users:
            return
        _sync_pool = None
    for shard in pool.shards:
        shard.client.close()


async def async_pool(user: Any) -> Pool[httpx.AsyncClient]:
    """The running loop's pool, with `user` among those who keep it open."""
    loop = asyncio.get_running_loop()
    pool = _async_pools.get(loop)
    if pool is None:
        context = _ssl_context or await asyncio.to_thread(shared_ssl_context)  # reads the CA bundle: not on the loop
        import httpx  # noqa: PLC0415

        for closed in [each for each in _async_pools if each.is_closed()]:
            del _async_pools[closed]
        pool = _async_pools.get(loop)  # another task may have been faster
        if pool is None:
            pool = Pool(lambda: _without_cookies(httpx.AsyncClient(**_settings(context))))
            _async_pools[loop] = pool
            pool.guard = _close_with_loop(loop, pool)
            await anext(pool.guard)
    pool.users.add(user)
    return pool


async def leave_async_pool(user: Any) -> None:
    """Let go of the running loop's pool; the last to leave closes it."""
    loop = asyncio.get_running_loop()
    pool = _async_pools.get(loop)
    if pool is None:
        return
    pool.users.discard(user)
    if not pool.users:
        await pool.guard.aclose()


async def _close_with_loop(
    loop: asyncio.AbstractEventLoop, pool: Pool[httpx.AsyncClient]
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        if _async_pools.get(loop) is pool:
            del _async_pools[loop]
        for shard in pool.shards:
            await shard.client.aclose()


@atexit.register
def _close_at_exit() -> None:
    if _sync_pool is not None:
        for shard in _sync_pool.shards:
            shard.client.close()


def _forget_after_fork() -> None:
    global _lock, _sync_pool  # noqa: PLW0603
    _lock = threading.Lock()
    _of_the_parent.append((_sync_pool, dict(_async_pools)))
    _sync_pool = None
    _async_pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
