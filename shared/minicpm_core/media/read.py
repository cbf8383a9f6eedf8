"""From any kind of source to the bytes of the file, with a name to use in errors."""

from __future__ import annotations

import contextlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import base64text, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from minicpm_core.media.limits import MediaLimits
    from minicpm_core.parts import Source

_CHUNK = 1024 * 1024


class Read(NamedTuple):
    """A picture's file.

    Attributes:
        label: How to call the picture in an error; a path is named, data never shown.
        data: Its bytes; `None` where it came as Base64.
        text: Plain standard Base64, where it came so.
    """

    label: str
    data: bytes | None = None
    text: bytes = b""


def read(source: Source, limits: MediaLimits) -> Read:
    """Read a source of any kind but `pil` and `url`.

    Args:
        source: What to read.
        limits: No more than `max_bytes` and one byte is read.

    Raises:
        InvalidMediaError: There is nothing to read, it cannot be read, or it is too large.
    """
    reader = _READERS.get(source.kind)
    if reader is None:
        raise InvalidMediaError(f"Unknown kind of {source.noun} source: {source.kind!r}.")
    found = reader(source.value, limits, source.noun)
    if found.data is not None and len(found.data) > limits.max_bytes:
        raise InvalidMediaError(f"{found.label} is too large: the limit is {limits.max_bytes} bytes.")
    return found


@contextlib.contextmanager
def opened(source: Source) -> Generator[tuple[str, BinaryIO]]:
    """A `path` or `file` source as an open file at its start, and how to call it in an error.

    A file object is put back where it was; a file that was opened here is closed.

    Raises:
        InvalidMediaError: It cannot be opened.
    """
    if source.kind == "path":
        label, file = _open(source.value, source.noun)
        with file:
            yield label, file
        return
    file = sources.checked_file(source.value, source.noun)
    label = f"The {source.noun} file object"
    try:
        position = file.tell()
        file.seek(0)
    except (OSError, ValueError) as error:  # closed, or a pipe
        raise InvalidMediaError(f"{label} cannot be read: {error}. {_READABLE}") from error
    try:
        yield label, file
    finally:
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile: the reader has said so
            file.seek(position)


_READABLE = "It must be open, in binary mode and seekable; otherwise pass its content as bytes."


def _path(value: Any, limits: MediaLimits, noun: str) -> Read:
    label, file = _open(value, noun)
    try:
        with file:
            return Read(label, file.read(limits.max_bytes + 1))
    except OSError as error:
        raise InvalidMediaError(f"{label} cannot be read: {error}.") from error


def _open(value: Any, noun: str) -> tuple[str, BinaryIO]:
    given = sources.checked_path(value, noun)
    label = f"The {noun} file"
    try:
        path = Path(given)
        label = f"The {noun} file {str(path)!r}"
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return label, path.open("rb")
    except FileNotFoundError:
        raise InvalidMediaError(f"{label} does not exist.") from None
    except PermissionError:
        raise InvalidMediaError(f"{label} may not be read: permission denied.") from None
    except (OSError, TypeError, ValueError) as error:  # a path of bytes; a NUL in the name
        raise InvalidMediaError(f"{label} cannot be read: {error}.") from error
    kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"  # a pipe or device might never end
    raise InvalidMediaError(f"{label} is {kind}.")


def _bytes(value: Any, limits: MediaLimits, noun: str) -> Read:
    data = sources.checked_bytes(value, noun)
    label = f"The {noun} in bytes"
    try:
        size = memoryview(data).nbytes
        content = bytes(data) if size <= limits.max_bytes else b""
    except ValueError as error:  # a released memoryview
        raise InvalidMediaError(f"{label} cannot be read: {error}.") from error
    if size > limits.max_bytes:
        raise InvalidMediaError(f"{label} is too large: it has {size} bytes, the limit is {limits.max_bytes}.")
    return Read(label, content)


def _file(value: Any, limits: MediaLimits, noun: str) -> Read:
    file = sources.checked_file(value, noun)
    label = f"The {noun} file object"
    try:
        position = file.tell()
        file.seek(0)
        try:
            data = _read_up_to(file, limits.max_bytes + 1, label)
        finally:
            file.seek(position)
    except InvalidMediaError:
        raise
    except (OSError, ValueError) as error:  # closed, or a pipe
        raise InvalidMediaError(f"{label} cannot be read: {error}. {_READABLE}") from error
    return Read(label, data)


def _read_up_to(file: Any, size: int, label: str) -> bytes:
    """At most `size` bytes, however few a raw file gives at a time."""
    chunks: list[bytes] = []
    while size > 0:
        chunk: Any = file.read(min(size, _CHUNK))
        if isinstance(chunk, str):
            raise InvalidMediaError(f'{label} is in text mode: open the file with mode "rb".')
        if not isinstance(chunk, bytes):
            raise InvalidMediaError(f"{label} gave {type(chunk).__name__} instead of bytes.")
        if not chunk:
            break
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _data_url(value: Any, limits: MediaLimits, noun: str) -> Read:
    label = f"The {noun} in the data URL"
    if not isinstance(value, str):
        raise InvalidMediaError(f"A data URL must be a string, not {type(value).__name__}.")
    return Read(label, text=base64text.plain(base64text.data_url_payload(value, label), limits, label))


def _base64(value: Any, limits: MediaLimits, noun: str) -> Read:
    label = f"The {noun} in Base64"
    return Read(label, text=base64text.plain(sources.checked_base64(value, noun), limits, label))


_READERS: dict[str, Callable[[Any, MediaLimits, str], Read]] = {
    "base64": _base64,
    "bytes": _bytes,
    "data_url": _data_url,
    "file": _file,
    "path": _path,
}
