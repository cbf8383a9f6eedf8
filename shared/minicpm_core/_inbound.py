"""What comes in: headers, decompression, and the cap on both whole answers and streams.

A compressed body is inflated in pieces, so that a few kilobytes cannot become gigabytes before anyone counts them.
httpx would inflate what it has read in one go.
"""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import APITimeoutError, MalformedReplyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ACCEPTED = "gzip, deflate"
"""For whole answers. A stream is asked for uncompressed: a proxy that compresses holds events back."""

_PIECE = 64 * 1024
_ANY_HEADER = zlib.MAX_WBITS | 32  # zlib or gzip, whichever it is
_NO_HEADER = -zlib.MAX_WBITS
_HEADER = 2  # bytes that tell one from the other
_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_OK = 200


def lower_headers(headers: Any) -> dict[str, str]:
    """Response headers with lower-case names; of repeated ones, the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers.raw}


class Inflater:
    """Decompresses a body, at most 64 kB at a time.

    Args:
        encoding: The `Content-Encoding` of the answer, in lower case.
        url: Whose answer it is, for messages.

    Raises:
        MalformedReplyError: The encoding is none of ours.
    """

    def __init__(self, encoding: str, url: str) -> None:
        self._url = url
        if encoding not in _ENCODINGS:
            raise MalformedReplyError(f"{url} answered compressed as it was not asked to.")
        self._inflate = zlib.decompressobj(_ANY_HEADER)
        self._head = b""
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces that the next bytes of the body hold.

        Raises:
            MalformedReplyError: They are not what the header says.
        """
        if not self._begun:
            data = self._head = self._head + data
            if len(data) < _HEADER:
                return
        try:
            piece = self._inflate.decompress(data, _PIECE) if self._begun else self._first(data)
            self._begun = True
            while piece:
                yield piece
                piece = self._inflate.decompress(self._inflate.unconsumed_tail, _PIECE)
        except zlib.error:
            raise MalformedReplyError(f"The answer of {self._url} could not be decompressed.") from None

    def finish(self) -> None:
        """The body is over.

        Raises:
            MalformedReplyError: The compressed data was not.
        """
        if self._head and not self._inflate.eof:
            raise MalformedReplyError(f"The answer of {self._url} ended in the middle of its compressed data.")

    def _first(self, data: bytes) -> bytes:
        try:
            return self._inflate.decompress(data, _PIECE)
        except zlib.error:  # "deflate" without the header of zlib, as some servers understand it
            self._inflate = zlib.decompressobj(_NO_HEADER)
            return self._inflate.decompress(data, _PIECE)


class Body:
    """Collects a whole answer.

    Args:
        status: Of the answer. One that reports an error is cut at the cap instead of refused: its beginning tells.
        most: The cap in bytes.
        seconds: How long it may take from now on; `None` for ever.
        url: Whose answer it is, for messages.
    """

    def __init__(self, status: int, *, most: int, seconds: float | None, url: str) -> None:
        self._status = status
        self._room = most
        self._most = most
        self._seconds = seconds
        self._until = None if seconds is None else time.monotonic() + seconds
        self._url = url
        self._pieces: list[bytes] = []

    def takes(self, piece: bytes) -> bool:
        """Take the next piece; an empty one is the end. Whether there is more to take.

        Raises:
            MalformedReplyError: The answer is larger than the cap.
            APITimeoutError: It takes too long, although bytes keep coming.
        """
        if not piece:
            return False
        self._room -= len(piece)
        if self._room < 0:
            if self._status == _OK:
                raise MalformedReplyError(
                    f"{self._url} answered with more than {self._most} bytes. "
                    "Raise max_response_bytes if such an answer is expected."
                )
            self._pieces.append(piece[: self._room])
            return False
        self._pieces.append(piece)
        if self._until is not None and time.monotonic() > self._until:
            raise APITimeoutError(f"{self._url}: the answer did not end within {self._seconds:g} s. Raise timeout.")
        return True

    def joined(self) -> bytes:
        """What was taken."""
        return b"".join(self._pieces)


def inflater_for(headers: Mapping[str, str], url: str) -> Inflater | None:
    """What a body is to be decompressed with; `None` if it comes as it is.

    Raises:
        MalformedReplyError: It is compressed in a way that was not asked for.
    """
    encoding = headers.get("content-encoding", "").strip().lower()
    return None if encoding in {"", "identity"} else Inflater(encoding, url)
