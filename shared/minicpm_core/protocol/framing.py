"""Where the body of an HTTP/1.1 answer ends, from its bytes, cut anywhere.

h11 tells this too, at four times the cost of everything else that is done to a streamed token: it makes an object of
each HTTP chunk, and servers send a chunk for each token.  Heads of answers, which are the intricate part of HTTP, stay
its work; a body is framed in just the three ways below, and h11 has made sure that the head names one of them.

A reader takes bytes with `feed` and gives those of the body among them, of all chunks at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

CRLF = b"\r\n"
MOST_BETWEEN = 16 * 1024
"""Bytes that the line before a chunk, or the trailer after the last, may have."""

# What follows the semicolon means nothing to us. Possessive, so that no line takes the square of its length to refuse.
_SIZE = rb"([0-9A-Fa-f]{1,16}+)[ \t]*+(?:;[^\r\n]*+)?\r\n"
_first_size = re.compile(_SIZE).match
_next_size = re.compile(CRLF + _SIZE).match
_NO_BODY = frozenset({101, 204, 304})
_ONE_POINT_ONE = b"1.1"


class BodyReader(Protocol):
    """Takes what a connection gives after the head of an answer.

    Attributes:
        done: The body is complete.
        clean: Nothing followed it, and the connection can carry another call.
        broken: Why what came cannot be the body that the head announced. What came before was given nevertheless.
    """

    done: bool
    clean: bool
    broken: str

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body among the next ones; empty `data` is the end of the connection."""
        ...


class ChunkedReader:
    """A body in chunks, each after a line with its size; an empty one is the last, and a trailer may follow it."""

    __slots__ = ("_after", "_left", "_next", "_rest", "broken", "clean", "done")

    def __init__(self) -> None:
        """Begin a body."""
        self._rest = b""  # the beginning of what stands between two chunks
        self._left = 0  # bytes of the current chunk that are still to come
        self._next = _first_size
        self._after = False  # the last chunk was seen
        self.done = self.clean = False
        self.broken = ""

    def feed(self, data: bytes) -> bytes:
        """See `BodyReader`."""
        if not data:
            self.broken = "the connection was closed in the middle of a chunked answer"
            return b""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, left, size_at = 0, self._left, self._next
        pieces: list[bytes] = []
        while not self._after:
            if left:
                piece = data[at : at + left]
                pieces.append(piece)
                at += len(piece)
                left -= len(piece)
                if left:
                    break
            found = size_at(data, at)
            if found is None:
                self._keep(data[at:], first=size_at is _first_size)
                break
            left = int(found[1], 16)
            at = found.end()
            size_at = _next_size
            if not left:
                self._after = True
                data = CRLF + data[at:]
        self._left, self._next = left, size_at
        if self._after:
            self._trailer(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _keep(self, rest: bytes, *, first: bool) -> None:
        """Wait for the end of what stands before the next chunk, if this can be its beginning."""
        line = rest if first else rest.removeprefix(CRLF)
        begun = first or CRLF.startswith(rest[:2])
        if not begun or b"\n" in line or len(line) > MOST_BETWEEN:
            self.broken = "the answer came in chunks that are none"
        self._rest = rest

    def _trailer(self, data: bytes) -> None:
        """The answer is over at the first empty line. What the lines before say is of no interest."""
        end = data.find(CRLF + CRLF)
        if end >= 0:
            self.done = True
            self.clean = end + 4 == len(data)
        elif len(data) > MOST_BETWEEN:
            self.broken = "the answer came with an endless trailer"
        else:
            self._rest = data


class LengthReader:
    """A body of known length.

    Args:
        length: In bytes.
    """

    __slots__ = ("_left", "broken", "clean", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = self.clean = length == 0
        self.broken = ""

    def feed(self, data: bytes) -> bytes:
        """See `BodyReader`."""
        if not data:
            self.broken = f"the connection was closed {self._left} bytes before the end of the answer"
            return b""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        self.done, self.clean = True, left == 0
        return data[: self._left] if left else data


class RestReader:
    """A body that ends with the connection."""

    __slots__ = ("broken", "clean", "done")

    def __init__(self) -> None:
        """Begin a body."""
        self.done = self.clean = False
        self.broken = ""

    def feed(self, data: bytes) -> bytes:
        """See `BodyReader`."""
        self.done = not data
        return data


def reader_for(status: int, headers: Iterable[tuple[bytes, bytes]]) -> BodyReader:
    """What the body of an answer is to be read with.

    Args:
        status: Of the answer, which is none to `HEAD` or `CONNECT`.
        headers: As h11 gives them: with lower-case names, one length at most, in digits, and no transfer encoding but
            `chunked`, which wins over a length (RFC 9112, section 6.3).
    """
    framing = {name: value for name, value in headers if name in {b"content-length", b"transfer-encoding"}}
    if status in _NO_BODY:
        return LengthReader(0)
    if b"transfer-encoding" in framing:
        return ChunkedReader()
    length = framing.get(b"content-length")
    return RestReader() if length is None else LengthReader(int(length))


def keeps(version: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the sender of these headers keeps the connection after the answer. Names are in lower case."""
    options = b",".join(value.lower() for name, value in headers if name == b"connection").split(b",")
    return version >= _ONE_POINT_ONE and b"close" not in {option.strip() for option in options}
