"""A connection to a server on asyncio: the same names and the same order as `_wire.py`.

On asyncio's own transports: the bytes of an answer are there when the loop hands them over, and waiting for them takes
a future and a timer, whatever the size of the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from typing import TYPE_CHECKING, Any, cast

import httpcore
import httpx

from minicpm_core._wire import SMALL_BODY, Turn, address_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

_MOST_UNREAD = 256 * 1024
"""Bytes that wait to be read, before the server is made to wait."""


class Pipe(asyncio.Protocol):
    """What came over a connection and was not read yet, and whether more can be written."""

    def __init__(self) -> None:
        """Not connected yet."""
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._unread: list[bytes] = []
        self._size = 0
        self._held_back = False
        self._full = False
        self._over = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread.append(data)
        self._size += len(data)
        if self._size > _MOST_UNREAD and not self._held_back:
            self._held_back = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        self._error = exc
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    @property
    def quiet(self) -> bool:
        """Whether nothing came that nobody asked for, such as the end."""
        return not (self._over or self._unread or self._transport.is_closing())

    async def read(self, seconds: float | None) -> bytes:
        """What came; none is the end.

        Raises:
            httpcore.ReadTimeout: Nothing came for so long.
            httpcore.ReadError: The connection broke.
        """
        while not self._unread:
            if self._error is not None:
                raise httpcore.ReadError(str(self._error)) from self._error
            if self._over:
                return b""
            await self._wait(seconds, httpcore.ReadTimeout)
        data = self._unread[0] if len(self._unread) == 1 else b"".join(self._unread)
        self._unread.clear()
        self._size = 0
        if self._held_back:
            self._held_back = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    async def write(self, data: bytes, seconds: float | None) -> None:
        """Send, at the pace at which it is taken.

        Raises:
            httpcore.WriteTimeout: It was not taken for so long.
            httpcore.WriteError: The connection broke.
        """
        if not self._over:
            self._transport.write(data)
        late = None if seconds is None else self._loop.time() + seconds  # what comes meanwhile gives no more of it
        while self._full and not self._over:
            await self._wait(late and late - self._loop.time(), httpcore.WriteTimeout)
        if self._over:
            raise httpcore.WriteError(str(self._error or "closed by the server")) from self._error

    async def _wait(self, seconds: float | None, late: type[Exception]) -> None:
        waiter = self._waiter = self._loop.create_future()
        timer = None if seconds is None else self._loop.call_later(seconds, _expire, waiter, late)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _expire(waiter: asyncio.Future[None], late: type[Exception]) -> None:
    if not waiter.done():
        waiter.set_exception(late())


async def _addresses(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order in which to try them."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class AsyncWire(httpx.AsyncBaseTransport):
    """A connection, made when it is needed, and again when the server has closed it.

    Args:
        context: For TLS.
        keep_seconds: How long it is used again after an answer.
    """

    def __init__(self, context: ssl.SSLContext, keep_seconds: float) -> None:
        self._context = context
        self._keep_seconds = keep_seconds
        self._pipe: Pipe | None = None
        self._socket: Any = None  # its asyncio transport, below TLS
        self._idle_since = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and read the head of its answer.

        Raises:
            httpcore.TimeoutException: Something took too long.
            httpcore.NetworkError: There is no connection, or no longer.
            h11.ProtocolError: What is to be sent, or came, is not HTTP.
        """
        turn = Turn(request)
        head = turn.head(request)
        pipe = await self._ready(request, turn)
        try:
            await self._send(pipe, request, turn, head)
            event = None
            while event is None:
                event = turn.head_of_answer(await pipe.read(turn.read_seconds))
        except BaseException:
            self.close()
            raise
        return httpx.Response(event.status_code, headers=event.headers.raw_items(), stream=_Answer(self, pipe, turn))

    async def _ready(self, request: httpx.Request, turn: Turn) -> Pipe:
        """The connection, if the server has kept it, or a new one."""
        pipe = self._pipe
        if pipe is not None:
            if pipe.quiet and time.monotonic() - self._idle_since <= self._keep_seconds:
                return pipe
            self.close()
        try:
            async with asyncio.timeout(turn.connect_seconds):
                return await self._connected(request, turn.connect_seconds)
        except TimeoutError:
            self.close()
            raise httpcore.ConnectTimeout from None
        except OSError as error:  # ssl.SSLError is one
            self.close()
            raise httpcore.ConnectError(str(error)) from error
        except BaseException:
            self.close()
            raise

    async def _connected(self, request: httpx.Request, seconds: float | None) -> Pipe:
        """A connection to the first address of the host that takes one, each of which has an equal share of the time.

        asyncio would try them at once (`happy_eyeballs_delay`), but in CPython 3.11 leaves sockets open when cancelled.
        """
        loop = asyncio.get_running_loop()
        host, port = address_of(request)
        *others, last = addresses = await _addresses(host, port)
        for address in others:
            with contextlib.suppress(OSError):  # TimeoutError is one
                async with asyncio.timeout(seconds and seconds / len(addresses)):
                    self._socket, self._pipe = await loop.create_connection(Pipe, address, port)
                break
        else:
            self._socket, self._pipe = await loop.create_connection(Pipe, last, port)
        if request.url.scheme == "https":
            if not self._pipe.quiet:  # it would be taken for what came over TLS
                raise ConnectionAbortedError("The server spoke before TLS was negotiated")
            tls = await loop.start_tls(self._socket, self._pipe, self._context, server_hostname=host)
            self._pipe.connection_made(cast("asyncio.Transport", tls))
        return self._pipe

    @staticmethod
    async def _send(pipe: Pipe, request: httpx.Request, turn: Turn, head: bytes) -> None:
        pieces = request.stream
        assert isinstance(pieces, httpx.AsyncByteStream)  # noqa: S101 - an asynchronous request has one
        waiting = head
        try:
            async for piece in pieces:
                data = turn.piece(piece)
                if len(data) > SMALL_BODY:
                    await pipe.write(waiting, turn.write_seconds)
                    waiting = data
                else:
                    waiting += data
            turn.end()
            await pipe.write(waiting, turn.write_seconds)
            turn.sent()
        except httpcore.WriteError:
            return  # the server may have answered before it had read everything, and closed

    def ended(self, turn: Turn) -> None:
        """The answer is complete."""
        if turn.kept:
            self._idle_since = time.monotonic()
        else:
            self.close()

    def close(self) -> None:
        """Close the connection, without a word to the server."""
        transport, self._socket = self._socket, None
        self._pipe = None
        if transport is not None:
            transport.abort()

    async def aclose(self) -> None:
        self.close()


class _Answer(httpx.AsyncByteStream):
    """The body of an answer, once.

    Args:
        wire: Whose answer it is.
        pipe: The connection.
        turn: Its head was read.
    """

    def __init__(self, wire: AsyncWire, pipe: Pipe, turn: Turn) -> None:
        self._wire = wire
        self._pipe = pipe
        self._turn = turn

    async def __aiter__(self) -> AsyncIterator[bytes]:
        turn, read, seconds = self._turn, self._pipe.read, self._turn.read_seconds
        yield turn.begun()
        while turn.goes_on():
            yield turn.body(await read(seconds))
        self._wire.ended(turn)

    async def aclose(self) -> None:
        """Close the connection, unless the answer was read to its end."""
        if not self._turn.done:
            self._wire.close()
