"""HTTP connections, shared by all clients of a process.

A client object is cheap and made often (frameworks copy models for every configuration), while a connection and an SSL
context (17 ms) are not.  So connections belong to the process, or for asyncio to the running loop, and client objects
only borrow them.  Nothing in a shared connection depends on who uses it: headers, key and timeouts travel with each
request, and there is no cookie.

Asynchronous pools end with their loop, synchronous ones with the process.  A child process starts with none: what came
over the fork is neither used nor closed.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from functools import lru_cache, partial
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any, TypeVar

from minicpm_core._lanes import KEEP_SECONDS, AsyncPool, SyncPool, retired
from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    import httpx

    from minicpm_core._uploads import AsyncUpload, Upload
    from minicpm_core.config import Timeouts

MOST_LANES = 1000
"""How many calls one event loop carries at once, if the process may open so many files. Further ones queue."""

T = TypeVar("T")

_lock = threading.Lock()
_ssl_context: ssl.SSLContext | None = None
_ready_for_asyncio = False
_sync_pool: SyncPool | None = None
_async_pools: dict[asyncio.AbstractEventLoop, AsyncPool] = {}
_of_the_parent: list[Any] = []  # what came over a fork: kept, since closing it would stir the parent's event loop


def _shared_ssl_context() -> ssl.SSLContext:
    """The one SSL context, made on first use."""
    global _ssl_context  # noqa: PLW0603 - one a process, as the module says
    import httpx

    with _lock:
        if _ssl_context is None:
            try:
                _ssl_context = httpx.create_ssl_context()
                _ssl_context.set_alpn_protocols(["http/1.1"])
            except OSError as error:
                named = "that SSL_CERT_FILE or SSL_CERT_DIR names"
                raise ConfigurationError(f"The certificates {named} cannot be read: {error.strerror}.") from None
        return _ssl_context


def _sync_transport(proxy: str | None) -> httpx.BaseTransport:
    import httpx

    if proxy is not None:
        return _made(httpx.HTTPTransport, proxy)
    from minicpm_core._wire import Wire

    return Wire(_shared_ssl_context(), KEEP_SECONDS)


def _async_transport(proxy: str | None) -> httpx.AsyncBaseTransport:
    import httpx

    if proxy is not None:
        return _made(httpx.AsyncHTTPTransport, proxy)
    from minicpm_core._wire_aio import AsyncWire

    return AsyncWire(_shared_ssl_context(), KEEP_SECONDS)


def _made(kind: Callable[..., T], proxy: str) -> T:
    import httpx

    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_SECONDS)
    context = _shared_ssl_context()
    try:
        return kind(verify=context, limits=limits, proxy=proxy)
    except (ImportError, ValueError, httpx.InvalidURL) as error:  # its message names the URL, perhaps with a password
        hint = "pip install 'httpx[socks]'" if isinstance(error, ImportError) else "it must be an http or socks5 URL"
        raise ConfigurationError(f"The proxy that the environment asks for cannot be used: {hint}.") from None


def _proxy_for(origin: str) -> str | None:
    """The proxy that the environment (or the system's settings) names for an origin."""
    from urllib.request import getproxies, proxy_bypass

    scheme, _, host = origin.partition("://")
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _most_lanes() -> int:
    """Half of the files that the process may open, at most `MOST_LANES`."""
    try:
        import resource
    except ImportError:  # Windows, where sockets are not files
        return MOST_LANES
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_LANES if most == resource.RLIM_INFINITY else max(1, min(MOST_LANES, most // 2))


def sync_pool(user: Any) -> SyncPool:
    """The process's pool, with `user` among those who keep it open."""
    global _sync_pool  # noqa: PLW0603
    pool = _sync_pool
    if pool is None:
        with _lock:
            pool = _sync_pool = _sync_pool or SyncPool(_sync_transport, _proxy_for)
    pool.users.add(user)
    return pool


def leave_sync_pool(user: Any) -> None:
    """Let go of the pool; the last to leave closes it."""
    global _sync_pool  # noqa: PLW0603
    pool = _sync_pool
    if pool is not None:
        pool.users.discard(user)
        if not pool.users:
            _sync_pool = None
            pool.retire()


async def async_pool(user: Any) -> AsyncPool:
    """The running loop's pool, with `user` among those who keep it open."""
    loop = asyncio.get_running_loop()
    if loop not in _async_pools and not _ready_for_asyncio:
        await loop.run_in_executor(None, _get_ready)  # it takes 0.1 s
    pool = _async_pools.get(loop)
    if pool is None:
        for other in list(_async_pools):
            if other.is_closed():  # by one who did not let it end its generators first
                _async_pools.pop(other, None)
        pool = _async_pools[loop] = AsyncPool(_async_transport, _proxy_for, _most_lanes())
        await pool.open(partial(_forget, loop, pool))
    pool.users.add(user)
    return pool


def _get_ready() -> None:
    """Import what the first call needs and make the SSL context, in a thread without this task's context."""
    global _ready_for_asyncio  # noqa: PLW0603
    if _ready_for_asyncio:
        return  # another task was faster
    _async_transport(None)
    with contextlib.suppress(ImportError):  # httpx's own choice of a network library
        import anyio

        anyio.run(anyio.sleep, 0)
    _ready_for_asyncio = True


async def leave_async_pool(user: Any) -> None:
    """Let go of the running loop's pool; the last to leave closes it."""
    loop = asyncio.get_running_loop()
    pool = _async_pools.get(loop)
    if pool is not None:
        pool.users.discard(user)
        if not pool.users:
            _forget(loop, pool)
            await pool.retire()


def _forget(loop: asyncio.AbstractEventLoop, pool: AsyncPool) -> None:
    if _async_pools.get(loop) is pool:
        del _async_pools[loop]


@lru_cache(maxsize=256)
def _target(url: str) -> tuple[httpx.URL, bytes]:
    """A URL as an object, and its `Host` header."""
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"base_url cannot be used: {error}.") from None
    return parsed, parsed.netloc


def http_request(
    method: str, url: str, *, headers: Mapping[str, str], body: bytes | Upload | AsyncUpload, timeouts: Timeouts
) -> httpx.Request:
    """A request as an object of httpx, complete: a transport adds nothing to it.

    Raises:
        ConfigurationError: The URL is none.
    """
    import httpx

    target, host = _target(url)
    raw = [] if "host" in headers else [(b"host", host)]
    if body:
        raw.append((b"content-length", b"%d" % len(body)))
    raw += [(name.encode(), value.encode()) for name, value in headers.items()]
    extensions = {"timeout": timeouts.as_dict()}
    if isinstance(body, bytes):
        return httpx.Request(method, target, headers=raw, stream=httpx.ByteStream(body), extensions=extensions)
    return httpx.Request(method, target, headers=raw, content=body, extensions=extensions)


def hang_up(socket: Any) -> None:
    """Make a thread that reads from a socket stop."""
    with contextlib.suppress(OSError):  # the other side was faster
        socket.shutdown(SHUT_RDWR)


@atexit.register
def _close_at_exit() -> None:
    for pool in [_sync_pool, *retired]:
        if isinstance(pool, SyncPool):
            pool.close(list(pool.lanes))


def _forget_after_fork() -> None:
    global _lock, _sync_pool  # noqa: PLW0603
    _lock = threading.Lock()
    _of_the_parent.append((_sync_pool, dict(_async_pools)))
    _sync_pool = None
    _async_pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
