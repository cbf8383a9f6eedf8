"""Pieced bodies on their way: read, encoded and handed on one piece at a time.

No file stays open between two pieces, so that nothing is left behind wherever sending ends.  That it is still the same
file, unchanged, is checked at each piece.
"""

from __future__ import annotations

import asyncio
import binascii
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from minicpm_core.errors import InvalidMediaError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from minicpm_core.parts import FileBody
    from minicpm_core.protocol.body import PiecedBody

FILE_PIECE = 768 * 1024
"""Bytes of a file that are read at once: a multiple of 3, so that the pieces' Base64 is that of the whole."""

BYTES_PIECE = 1024 * 1024
"""Bytes handed on at once. Of more, transports copy again and again what the socket did not take yet."""

_LEAVE_IT = "Leave it as it is until the answer begins."


class _Upload:
    """What both ways of sending share.

    Args:
        body: What to send. It can be sent again, as retries and redirects do.

    Attributes:
        error: Why a file could not be sent. A transport may turn what is raised here into an error of its own.
    """

    def __init__(self, body: PiecedBody) -> None:
        self._body = body
        self.error: InvalidMediaError | None = None

    def __len__(self) -> int:
        return len(self._body)

    def _pieces(self) -> Iterator[bytes | tuple[_Reader, int]]:
        """Pieces that are at hand, and those that are to be read: from which file, and from where in it."""
        self.error = None
        for segment in self._body.segments:
            if isinstance(segment, bytes):
                for at in range(0, len(segment), BYTES_PIECE):
                    yield segment[at : at + BYTES_PIECE]
            else:
                reader = _Reader(segment)
                for at in range(0, segment.size, FILE_PIECE):
                    yield reader, at

    def _read(self, reader: _Reader, at: int) -> bytes:
        try:
            return reader.read(at)
        except InvalidMediaError as error:
            self.error = error
            raise


class Upload(_Upload):
    """A pieced body for a synchronous transport."""

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces():
            yield piece if isinstance(piece, bytes) else self._read(*piece)


class AsyncUpload(_Upload):
    """A pieced body for an asynchronous transport. Files are read in worker threads."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces():
            yield piece if isinstance(piece, bytes) else await asyncio.to_thread(self._read, *piece)


class _Reader:
    """A file, read in pieces as Base64.

    Args:
        body: The file, and how large it is to be.
    """

    def __init__(self, body: FileBody) -> None:
        self._body = body
        self._identity: tuple[int, int, int] | None = None  # as of the first piece

    def read(self, at: int) -> bytes:
        """The Base64 of one piece.

        Raises:
            InvalidMediaError: The file is gone, cannot be read, or has changed.
        """
        body = self._body
        path = Path(body.path)
        try:
            self._check(path.stat())  # before it is opened: a pipe would wait for its other end
            with path.open("rb", buffering=0) as file:
                self._check(os.fstat(file.fileno()))
                file.seek(at)
                data = file.read(min(FILE_PIECE, body.size - at))
        except FileNotFoundError:
            raise InvalidMediaError(f"The file {body.path!r} was gone before it was sent.") from None
        except OSError as error:
            raise InvalidMediaError(f"The file {body.path!r} could not be read: {error.strerror}.") from error
        if len(data) != min(FILE_PIECE, body.size - at):
            raise InvalidMediaError(f"The file {body.path!r} was cut while it was being sent. {_LEAVE_IT}")
        return binascii.b2a_base64(data, newline=False)

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise InvalidMediaError(f"{self._body.path!r} is not a regular file.")
        if found.st_size != self._body.size:
            raise InvalidMediaError(
                f"The file {self._body.path!r} has changed: it had {self._body.size} bytes when the request was made, "
                f"and {found.st_size} when it was sent. {_LEAVE_IT}"
            )
        identity = (found.st_dev, found.st_ino, found.st_mtime_ns)
        if self._identity not in {None, identity}:
            raise InvalidMediaError(f"The file {self._body.path!r} was changed while it was being sent. {_LEAVE_IT}")
        self._identity = identity
