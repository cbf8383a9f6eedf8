"""http(s) URLs, fetched by the client itself and guarded.

`guard` says which URLs may be fetched.  Here every address that a name stands for is checked, and the connection is
made to just these addresses: a name that stands for another address a moment later (DNS rebinding) gains nothing.  TLS
is verified against the name.  Redirects are followed by hand, each checked like the first URL.  No proxy, cookie,
credential or referrer is used.

Time is bounded as a whole, below HTTP: a server that sends a byte now and then would get by any bound on one step.
httpcore is used directly, since httpx has no place for such a network.
"""

from __future__ import annotations

import contextlib
import io
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpcore

from minicpm_core._inbound import inflater_for
from minicpm_core.config import Timeouts
from minicpm_core.errors import InvalidMediaError, MalformedReplyError
from minicpm_core.media.guard import check_address, check_redirect, check_url

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from minicpm_core.media.guard import Target

MAX_REDIRECTS = 5

_TIMEOUTS = Timeouts(connect=10.0, read=30.0, write=30.0)
_SLICE = 0.25
"""Seconds after which a step that waits looks whether it was stopped."""

_ACCEPT = {
    "image": "image/*, */*;q=0.5",
    "video": "video/*, */*;q=0.5",
    "audio": "audio/*, */*;q=0.5",
    "document": "application/pdf, text/*;q=0.9, */*;q=0.5",
}
_GOOD = frozenset({200, 203})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_PROBLEMS: tuple[tuple[type[Exception], str], ...] = (
    (httpcore.ConnectTimeout, "there was no connection in time"),
    (httpcore.TimeoutException, "the server stopped answering"),
    (httpcore.ConnectError, "no connection could be made"),
    (httpcore.ProtocolError, "the server broke off, or did not speak HTTP"),
    (httpcore.NetworkError, "the connection broke"),
)
"""What failures are called. Texts of httpcore may quote the server's answer, so only that of connecting is shown."""


def fetch(
    url: str,
    *,
    max_bytes: int,
    hosts: frozenset[str] = frozenset(),
    timeouts: Timeouts | None = None,
    seconds: float = 60.0,
    stop: threading.Event | None = None,
    what: str = "image",
) -> bytes:
    """Fetch what an http(s) URL names. It blocks: call it from a thread.

    Args:
        url: As it was given, without whitespace around it.
        max_bytes: The most bytes, as they come and decompressed.
        hosts: The allow-list, as in `guard.check_url`: these hosts may have private addresses.
        timeouts: Seconds for each step. By default 10 to find the host and to connect, 30 to read and to write.
        seconds: How long all of it may take, redirects included.
        stop: Set by another thread to give up.
        what: `image`, `video`, `audio` or `document`: asked for by `Accept`, and named in errors.

    Raises:
        UnsupportedContentError: It is not http(s), holds a user or password, or it or a redirect leads to an address
            that is not public, to a port that is not of the web, or from https to http.
        InvalidMediaError: It is malformed; cannot be reached; answers with another status than 200 or 203, with more
            than `max_bytes`, or with nothing; redirects more than 5 times; takes too long; or `stop` was set.
        ConfigurationError: An entry of `hosts` is neither a name nor an address, or the certificates that the
            environment names cannot be read.
    """
    target = check_url(url, hosts)
    watch = _Watch(what, seconds, stop)
    for _ in range(MAX_REDIRECTS + 1):
        answer = _ask(target, watch, timeouts or _TIMEOUTS, max_bytes)
        if isinstance(answer, bytes):
            return answer
        target = check_redirect(target, answer, hosts)
    raise InvalidMediaError(f"The {what} was not found: {target.origin} is the end of more than 5 redirects.")


class _Watch:
    """The bounds that hold for the whole fetch.

    Args:
        what: What is fetched.
        seconds: How long it may take from now on.
        stop: Set to give up.
    """

    def __init__(self, what: str, seconds: float, stop: threading.Event | None) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._stop = stop
        self.what = what
        self.label = f"The {what}"

    def at(self, target: Target) -> None:
        """From now on, errors name this host."""
        self.label = f"The {self.what} at {target.origin}"

    def left(self, most: float | None = None) -> float:
        """Seconds that the next step may take.

        Raises:
            InvalidMediaError: None are left, or the fetch was stopped.
        """
        if self._stop is not None and self._stop.is_set():
            raise InvalidMediaError(f"{self.label} was not fetched to its end: it was stopped.")
        left = self._until - time.monotonic()
        if left <= 0:
            raise InvalidMediaError(f"{self.label} could not be fetched within {self._seconds:g} s.")
        return left if most is None else min(left, most)


def _ask(target: Target, watch: _Watch, timeouts: Timeouts, most: int) -> bytes | str:
    """The content behind a URL, or where it redirects to."""
    watch.at(target)
    network = _Network(_addresses(target, watch, timeouts), watch)
    url = httpcore.URL(
        scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
    )
    headers = _headers(target, watch)
    extensions = {"timeout": timeouts.as_dict()}
    context = _ssl_context() if target.scheme == "https" else None
    try:
        with (
            httpcore.ConnectionPool(ssl_context=context, max_connections=1, network_backend=network) as pool,
            pool.stream("GET", url, headers=headers, extensions=extensions) as response,
        ):
            return _take(response, watch, most)
    except tuple(kind for kind, _ in _PROBLEMS) as error:
        problem = _problem(error)
    except MalformedReplyError as error:  # of the inflater
        problem = error.message.rstrip(".")
    raise InvalidMediaError(f"{watch.label} could not be fetched: {problem}.")


def _problem(error: Exception) -> str:
    what = next(text for kind, text in _PROBLEMS if isinstance(error, kind))
    return f"{what} ({error})" if isinstance(error, httpcore.ConnectError) else what


def _headers(target: Target, watch: _Watch) -> list[tuple[str, str]]:
    from minicpm_core.protocol.request import USER_AGENT

    return [
        ("host", target.netloc),
        ("accept", _ACCEPT.get(watch.what, "*/*")),
        ("accept-encoding", "identity"),
        ("user-agent", USER_AGENT),
        ("connection", "close"),
    ]


def _ssl_context() -> ssl.SSLContext:
    from minicpm_core._pools import _shared_ssl_context

    return _shared_ssl_context()


def _take(response: httpcore.Response, watch: _Watch, most: int) -> bytes | str:
    """The body of an answer, or where it redirects to."""
    headers = {name.decode("latin-1").lower(): value for name, value in response.headers}
    if response.status in _REDIRECTS and "location" in headers:
        return headers["location"].decode("utf-8", errors="replace")
    if response.status not in _GOOD:
        raise InvalidMediaError(f"{watch.label} could not be fetched: the server answered {response.status}.")
    if int(headers.get("content-length", b"0")) > most:
        raise _too_large(watch, most)
    texts = {name: value.decode("latin-1") for name, value in headers.items()}
    inflater = inflater_for(texts, "the server")
    raw, body = 0, io.BytesIO()
    for data in response.iter_stream():
        watch.left()
        raw += len(data)  # counted apart: what follows the end of compressed data unpacks to nothing
        for piece in inflater.feed(data) if inflater else (data,):
            body.write(piece)
            if body.tell() > most:
                raise _too_large(watch, most)
        if raw > most:
            raise _too_large(watch, most)
    if inflater:
        inflater.finish()
    if not body.tell():
        raise InvalidMediaError(f"{watch.label} is empty.")
    return body.getvalue()


def _too_large(watch: _Watch, most: int) -> InvalidMediaError:
    return InvalidMediaError(f"{watch.label} is too large: it has more than {most} bytes, which is the limit.")


def _addresses(target: Target, watch: _Watch, timeouts: Timeouts) -> list[str]:
    """The addresses of the host, checked unless it is allowed, in the order in which to try them.

    The system's resolver cannot be given a bound on its time, nor be stopped.  So it has a thread of its own, which is
    left behind where it takes too long.
    """
    if target.is_address:
        return [target.host]
    answers: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    threading.Thread(target=_look_up, args=(target, answers), name="minicpm-fetch-dns", daemon=True).start()
    until = time.monotonic() + watch.left(timeouts.connect)
    found: list[str] | None = None
    while found is None and time.monotonic() < until:
        with contextlib.suppress(queue.Empty):
            found = answers.get(timeout=watch.left(_SLICE))
    watch.left()
    if not found:
        raise InvalidMediaError(f"{watch.label} could not be fetched: its host could not be found.")
    if not target.allowed:
        for address in found:
            check_address(address, target.origin)
    return found


def _look_up(target: Target, answers: queue.SimpleQueue[list[str]]) -> None:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError:  # there is no such host, or nobody to ask
        found = []
    answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))


class _Network(httpcore.NetworkBackend):
    """Connects to addresses that were checked, whatever host it is asked for.

    Args:
        addresses: Tried in this order.
        watch: The bounds.
    """

    def __init__(self, addresses: list[str], watch: _Watch) -> None:
        self._addresses = addresses
        self._watch = watch
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - it was looked up and checked before
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first address that takes one."""
        *others, last = self._addresses
        for address in others:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connect(address, port, timeout, local_address, socket_options)
        return self._connect(last, port, timeout, local_address, socket_options)

    def _connect(self, address: str, port: int, timeout: float | None, *options: Any) -> httpcore.NetworkStream:
        return _Stream(self._backend.connect_tcp(address, port, self._watch.left(timeout), *options), self._watch)


class _Stream(httpcore.NetworkStream):
    """A connection that ends when the fetch must.

    Args:
        stream: The connection.
        watch: The bounds.
    """

    def __init__(self, stream: httpcore.NetworkStream, watch: _Watch) -> None:
        self._stream = stream
        self._watch = watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes, waited for in slices."""
        until = time.monotonic() + self._watch.left(timeout)
        while True:
            try:
                return self._stream.read(max_bytes, timeout=self._watch.left(_SLICE))
            except httpcore.ReadTimeout:
                self._watch.left()
                if time.monotonic() >= until:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send the request, which is small."""
        self._stream.write(buffer, timeout=self._watch.left(timeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Greet over TLS. `ssl` counts the time for the greeting as a whole."""
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout=self._watch.left(timeout))
        return _Stream(stream, self._watch)

    def get_extra_info(self, info: str) -> Any:
        """What is known of the connection."""
        return self._stream.get_extra_info(info)
