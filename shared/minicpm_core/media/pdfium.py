"""PDFium, by way of pypdfium2 (extra `[media]`), which is imported when a PDF is to be read, and not before.

PDFium is not thread-safe, so all of its calls here go through one lock.  Whoever uses pypdfium2 beside this library in
another thread has to hold `lock()`, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import threading
from typing import TYPE_CHECKING, Any, BinaryIO

from minicpm_core.errors import ConfigurationError, InvalidMediaError, MiniCPMError
from minicpm_core.media.sniff import lookalike

if TYPE_CHECKING:
    from collections.abc import Generator

NEEDS_PYPDFIUM2 = 'This needs pypdfium2: pip install "minicpm-integrations[media]".'

_MARK = b"%PDF-"
_BEFORE_MARK = b"\xef\xbb\xbf\0 \t\r\n\f"
_HEAD = 1024
_WRONG_PASSWORD = 4  # FPDF_ERR_PASSWORD of fpdfview.h

_lock = threading.Lock()


def lock() -> threading.Lock:
    """The lock of this process. Hold it for a page at a time, so that a long document does not keep others waiting."""
    return _lock


def is_pdf(data: bytes) -> bool:
    """Whether a file is a PDF, by its first bytes.

    Args:
        data: The file, or its first kilobyte.
    """
    return data[:_HEAD].lstrip(_BEFORE_MARK).startswith(_MARK)


@contextlib.contextmanager
def opened(data: bytes | BinaryIO, label: str) -> Generator[Any]:
    """A document of pypdfium2, closed at the end; a file's position is put back.

    Args:
        data: The PDF, or a seekable binary file of it.
        label: How to call the document in an error.

    Raises:
        InvalidMediaError: It is no PDF, broken, empty or encrypted, or its file cannot be read.
        ConfigurationError: pypdfium2 is not installed.
    """
    with _source(data, label) as source, _document(source, label) as document:
        yield document


class _Guarded:
    """A file as PDFium reads it. It calls back from C, where no exception may pass, so that the first one is kept.

    Args:
        file: Seekable, in binary mode.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: Exception | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except Exception as error:  # noqa: BLE001 - kept for the caller, see above
            self.error = self.error or error
            return 0

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def readinto(self, buffer: Any) -> int:
        """Fill an array of `ctypes`; what is missing becomes zeros, never what the memory held before."""
        size = ctypes.sizeof(buffer)
        data = b""
        try:
            while len(data) < size and (more := self._file.read(size - len(data))):
                data += more
        except Exception as error:  # noqa: BLE001 - as above
            self.error = self.error or error
            data = b""
        ctypes.memmove(buffer, data.ljust(size, b"\0"), size)
        return len(data)


@contextlib.contextmanager
def _source(data: bytes | BinaryIO, label: str) -> Generator[bytes | _Guarded]:
    """The input as PDFium takes it."""
    if isinstance(data, bytes):
        if not data:
            raise InvalidMediaError(f"{label} is empty.")
        yield data
        return
    guarded = _Guarded(data)
    try:
        position = data.tell()
        try:
            if data.seek(0, os.SEEK_END) == 0:
                raise InvalidMediaError(f"{label} is empty.")
            yield guarded
        finally:
            data.seek(position)
    except (OSError, ValueError) as error:
        if guarded.error is None and isinstance(error, MiniCPMError):
            raise
        guarded.error = guarded.error or error
    if guarded.error is not None:
        raise InvalidMediaError(f"{label} cannot be read: {guarded.error}.") from guarded.error


@contextlib.contextmanager
def _document(source: bytes | _Guarded, label: str) -> Generator[Any]:
    """The open document, of pypdfium2."""
    with _lock:
        pdfium = _pypdfium2()
        try:
            document = _load(pdfium, source)
        except pdfium.PdfiumError as error:
            raise _refusal(source, _code(error), label) from None
    try:
        with _lock, as_broken(label):
            document.init_forms()
        yield document
    finally:
        with _lock:
            document.close()


def _load(pdfium: Any, source: bytes | _Guarded) -> Any:
    """The document, or pypdfium2's error with the reason for it.

    PDFium leaves the reason of an earlier failure in place where it finds none of its own.
    """
    try:
        return pdfium.PdfDocument(source)
    except pdfium.PdfiumError as error:
        if _code(error) != _WRONG_PASSWORD:
            raise
    with contextlib.suppress(pdfium.PdfiumError):
        pdfium.PdfDocument(b"no PDF")
    return pdfium.PdfDocument(source)


def _code(error: Exception) -> int | None:
    return getattr(error, "err_code", None)


def _refusal(source: bytes | _Guarded, code: int | None, label: str) -> InvalidMediaError:
    """Why a document cannot be opened."""
    if code == _WRONG_PASSWORD:
        return InvalidMediaError(f"{label} is encrypted and needs a password. Save it without one first.")
    if isinstance(source, _Guarded):
        source.seek(0)
        head = b"" if source.error else source.read(_HEAD)
    else:
        head = source[:_HEAD]
    if is_pdf(head):
        return InvalidMediaError(f"{label} is a PDF that is broken, cut off, or has no pages.")
    return InvalidMediaError(f"{label} is not a PDF: it looks like {lookalike(head).name}.")


def _pypdfium2() -> Any:
    try:
        return importlib.import_module("pypdfium2")
    except ImportError as error:
        raise ConfigurationError(NEEDS_PYPDFIUM2) from error


@contextlib.contextmanager
def as_broken(label: str) -> Generator[None]:
    """What pypdfium2 says of a broken document, as the caller's error.

    Args:
        label: How to call what is broken.

    Raises:
        InvalidMediaError: Instead of any other.
    """
    try:
        yield
    except (RuntimeError, ValueError, MemoryError) as error:  # PdfiumError is a RuntimeError
        if isinstance(error, InvalidMediaError):
            raise
        raise InvalidMediaError(f"{label} cannot be drawn: {str(error).rstrip('.') or type(error).__name__}.") from None


def _forget_after_fork() -> None:
    global _lock  # noqa: PLW0603 - a thread of the parent may hold it
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
