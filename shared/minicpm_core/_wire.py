"""A connection to a server, for one call at a time: an httpx transport that reads an answer's bytes as they arrive.

httpx's own goes through five layers for each HTTP chunk, and so for each token of a stream.  This one lets h11 write
the request and read the head of the answer, and takes the body from the connection in whatever pieces the system gives,
through `protocol/framing.py`: see docs/decisions/0008-own-transport.md.  For proxies httpx's own is used.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import h11
import httpcore
import httpx

from minicpm_core.protocol.framing import keeps, reader_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from minicpm_core.protocol.framing import BodyReader

READ_BYTES = 64 * 1024
"""Read at once, if the system has so many."""

SMALL_BODY = 64 * 1024
"""A body of so many bytes is sent together with the head."""

_MOST_HEAD = 100 * 1024  # as httpcore has it
_MOST_BEFORE = 1_000
"""Answers that say nothing yet (1xx), before one that does."""

_PORTS = {"http": 80, "https": 443}
_SWITCHED = 101
_VERSION = b"1.1"


def address_of(request: httpx.Request) -> tuple[str, int]:
    """Host and port to connect to."""
    url = request.url
    return url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]


class Turn:
    """One request and its answer, in bytes: what both transports know of HTTP.

    What h11 raises has the names that `protocol/transport.py` knows.

    Args:
        request: With everything that is to be sent.
    """

    __slots__ = (
        "_asked_to_keep",
        "_before",
        "_body",
        "_h11",
        "_keep",
        "_sent",
        "connect_seconds",
        "read_seconds",
        "write_seconds",
    )

    _body: BodyReader

    def __init__(self, request: httpx.Request) -> None:
        timeouts = request.extensions.get("timeout", {})
        self.connect_seconds: float | None = timeouts.get("connect")
        self.read_seconds: float | None = timeouts.get("read")
        self.write_seconds: float | None = timeouts.get("write")
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD)
        self._asked_to_keep = self._keep = self._sent = False
        self._before = 0

    def head(self, request: httpx.Request) -> bytes:
        """The head of the request, as it is sent.

        Raises:
            h11.LocalProtocolError: It cannot be sent.
        """
        event = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
        self._asked_to_keep = keeps(_VERSION, event.headers)
        return self._h11.send(event) or b""

    def piece(self, piece: bytes) -> bytes:
        """A piece of the request's body, as it is sent.

        Raises:
            h11.LocalProtocolError: It is more than was announced.
        """
        return self._h11.send(h11.Data(data=piece)) or b""

    def end(self) -> None:
        """The request has no more pieces.

        Raises:
            h11.LocalProtocolError: It is less than was announced.
        """
        self._h11.send(h11.EndOfMessage())

    def sent(self) -> None:
        """The whole request was handed to the system."""
        self._sent = True

    def head_of_answer(self, data: bytes) -> h11.Response | h11.InformationalResponse | None:
        """Take the next bytes, and give the head of the answer once it is complete.

        Raises:
            h11.RemoteProtocolError: They are no answer.
        """
        if not data:
            raise h11.RemoteProtocolError("Server disconnected without sending a response.")
        self._h11.receive_data(data)
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Response) or (
                isinstance(event, h11.InformationalResponse) and event.status_code == _SWITCHED
            ):
                self._body = reader_for(event.status_code, event.headers)
                switched = isinstance(event, h11.InformationalResponse)
                self._keep = self._asked_to_keep and not switched and keeps(event.http_version, event.headers)
                return event
            self._before += 1
            if self._before > _MOST_BEFORE:
                raise h11.RemoteProtocolError("The server announces an answer without end.")

    def begun(self) -> bytes:
        """What of the body came with the head."""
        data, _ = self._h11.trailing_data
        if self._body.done:
            self._keep = self._keep and not data
            return b""
        return self._body.feed(data) if data else b""

    def body(self, data: bytes) -> bytes:
        """What of the body the next bytes hold; none are the end of the connection."""
        return self._body.feed(data)

    def goes_on(self) -> bool:
        """Whether more of the body is to come.

        Raises:
            h11.RemoteProtocolError: What came is not as the head says.
        """
        if self._body.broken:
            raise h11.RemoteProtocolError(self._body.broken)
        return not self._body.done

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return self._body.done

    @property
    def kept(self) -> bool:
        """Whether the connection can carry another call after this answer."""
        return self._sent and self._keep and self._body.done and self._body.clean


class Wire(httpx.BaseTransport):
    """A connection, made when it is needed, and again when the server has closed it.

    Args:
        context: For TLS.
        keep_seconds: How long it is used again after an answer.
    """

    def __init__(self, context: ssl.SSLContext, keep_seconds: float) -> None:
        self._context = context
        self._keep_seconds = keep_seconds
        self._stream: httpcore.NetworkStream | None = None
        self._idle_since = 0.0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and read the head of its answer.

        Raises:
            httpcore.TimeoutException: Something took too long.
            httpcore.NetworkError: There is no connection, or no longer.
            h11.ProtocolError: What is to be sent, or came, is not HTTP.
        """
        turn = Turn(request)
        head = turn.head(request)
        stream = self._ready(request, turn)
        try:
            self._send(stream, request, turn, head)
            event = None
            while event is None:
                event = turn.head_of_answer(stream.read(READ_BYTES, turn.read_seconds))
        except BaseException:
            self.close()
            raise
        return httpx.Response(
            event.status_code,
            headers=event.headers.raw_items(),
            stream=_Answer(self, stream, turn),
            extensions={"network_stream": stream},
        )

    def _ready(self, request: httpx.Request, turn: Turn) -> httpcore.NetworkStream:
        """The connection, if the server has kept it, or a new one."""
        stream = self._stream
        if stream is not None:
            old = time.monotonic() - self._idle_since > self._keep_seconds
            if not old and not stream.get_extra_info("is_readable"):  # what an idle connection has to say is its end
                return stream
            self.close()
        host, port = address_of(request)
        stream = httpcore.SyncBackend().connect_tcp(host, port, timeout=turn.connect_seconds, socket_options=())
        self._stream = stream
        if request.url.scheme == "https":
            try:
                stream = stream.start_tls(self._context, host, turn.connect_seconds)
            except BaseException:
                self.close()
                raise
            self._stream = stream
        return stream

    @staticmethod
    def _send(stream: httpcore.NetworkStream, request: httpx.Request, turn: Turn, head: bytes) -> None:
        pieces = request.stream
        assert isinstance(pieces, httpx.SyncByteStream)  # noqa: S101 - a synchronous request has one
        waiting = head
        try:
            for piece in pieces:
                data = turn.piece(piece)
                if len(data) > SMALL_BODY:
                    stream.write(waiting, turn.write_seconds)
                    waiting = data
                else:
                    waiting += data
            turn.end()
            stream.write(waiting, turn.write_seconds)
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
        """Close the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class _Answer(httpx.SyncByteStream):
    """The body of an answer, once.

    Args:
        wire: Whose answer it is.
        stream: The connection.
        turn: Its head was read.
    """

    def __init__(self, wire: Wire, stream: httpcore.NetworkStream, turn: Turn) -> None:
        self._wire = wire
        self._stream = stream
        self._turn = turn

    def __iter__(self) -> Iterator[bytes]:
        turn, read, seconds = self._turn, self._stream.read, self._turn.read_seconds
        yield turn.begun()
        while turn.goes_on():
            yield turn.body(read(READ_BYTES, seconds))
        self._wire.ended(turn)

    def close(self) -> None:
        """Close the connection, unless the answer was read to its end."""
        if not self._turn.done:
            self._wire.close()
