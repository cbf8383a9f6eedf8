"""Which pictures and pages there are, and the bytes of each that the model is shown.

Files are told apart by their first bytes, never by their names: a PNG called `scan.txt` is found, and a text called
`photo.png` is not.
"""

from __future__ import annotations

import binascii
import glob
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from minicpm_core.errors import InvalidMediaError, MiniCPMError
from minicpm_core.media import pdfium
from minicpm_core.media.limits import DEFAULT_LIMITS, MediaLimits
from minicpm_core.media.pdfium import is_pdf
from minicpm_core.media.read import opened, read
from minicpm_core.media.sniff import JPEG, PNG, lookalike, sniff
from minicpm_core.media.sources import from_path
from minicpm_core.parts import DocumentSource, ImageSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MediaPaths: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"
"""A file, a folder, a pattern such as `photos/**/*.jpg`, or several of these."""

Unreadable: TypeAlias = "Callable[[Path, MiniCPMError], None]"
"""Told of a file that looks like a PDF and cannot be opened."""

_HEAD = 1024
_PDF = "application/pdf"
_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as the model is shown it.

    Attributes:
        data: The encoded file.
        media_type: By its first bytes; `None` where they are of no known picture, which the client will refuse.
        sha256: Of `data`, in hexadecimal.
    """

    data: bytes = field(repr=False)
    media_type: str | None
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Picture:
        """A picture in memory.

        Args:
            data: The encoded file.
        """
        return cls(data, sniff(data), hashlib.sha256(data).hexdigest())

    def source(self, *, detail: str | None = None) -> ImageSource:
        """The picture as a part of a message.

        Args:
            detail: How much of it is sent: see `minicpm_core.media.detail`.
        """
        return ImageSource("bytes", self.data, self.media_type, detail)


@dataclass(frozen=True, slots=True, order=True)
class MediaPage:
    """A picture in a file, or a page of a PDF. Nothing is held open.

    Attributes:
        path: The file.
        page: Counted from 1; `None` for a picture.
        page_count: Pages of the document; 1 for a picture.
    """

    path: Path
    page: int | None = None
    page_count: int = 1

    @property
    def label(self) -> str:
        """How to name it to people: `report.pdf, page 3`."""
        return str(self.path) if self.page is None else f"{self.path}, page {self.page}"

    def read(self, *, limits: MediaLimits = DEFAULT_LIMITS) -> Picture:
        """The bytes that the model is shown: the file of a picture as it is, or a page of a PDF as PNG or JPEG.

        A page is drawn with as many pixels as the model looks at (`minicpm_core.media.documents.PAGE_PIXELS`).  Blocks
        while it reads; the file is read anew each time, so that one that was replaced is noticed.

        Args:
            limits: Bounds on bytes and pixels.

        Raises:
            InvalidMediaError: It cannot be read or drawn, is too large, or has lost the page.
            ConfigurationError: pypdfium2 or Pillow is not installed, and a page has to be drawn.
        """
        if self.page is None:
            return Picture.of(read(from_path(ImageSource, self.path), limits).data or b"")
        return Picture.of(_drawn(self.path, self.page, limits))


def find_media(paths: MediaPaths, *, recursive: bool = True, unreadable: Unreadable | None = None) -> list[MediaPage]:
    """The pictures, and the pages of the PDFs, in files, folders or patterns.

    In a folder, files of other kinds, hidden files and hidden folders are passed over, and links to folders are not
    followed.  A file that is named and is neither a picture nor a PDF is an error, as is a pattern that nothing fits.

    Args:
        paths: One or several. A text is taken as a pattern if it has `*`, `?` or `[` in it and no file has that name.
        recursive: Look into folders within folders.
        unreadable: Told of a PDF that cannot be opened, which is then left out; `None` raises its error.

    Returns:
        Each one once, in the order of their paths and pages, which is the same for the same files.

    Raises:
        InvalidMediaError: A path does not exist or is no picture or PDF, or a PDF cannot be opened.
        ConfigurationError: There is a PDF, and pypdfium2 is not installed.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files = {file: kind for one in given for file, kind in _files(one, recursive=recursive)}
    return [page for file, kind in sorted(files.items()) for page in _pages(file, kind, unreadable)]


def _files(given: str | os.PathLike[str], *, recursive: bool) -> Iterator[tuple[Path, str]]:
    """The files with their MIME types, which are looked up once."""
    path = Path(given)
    if path.is_dir():
        yield from ((file, kind) for file in _walk(path, recursive=recursive) if (kind := _kind(file)))
    elif not path.exists() and _WILD & set(str(given)):
        matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not matches:
            raise InvalidMediaError(f"No file fits the pattern {str(given)!r}.")
        yield from ((match, kind) for match in matches if match.is_file() and (kind := _kind(match)))
    else:
        yield path, _named(path)


def _walk(folder: Path, *, recursive: bool) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, onerror=_unlistable):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        yield from (
            file for name in names if not name.startswith(".") and (file := Path(root, name)).is_file()
        )  # a dangling link, a pipe and a device are no files


def _unlistable(error: OSError) -> None:
    raise InvalidMediaError(f"The folder {error.filename!r} cannot be listed: {error.strerror}.") from error


def _head(path: Path) -> bytes:
    with opened(from_path(ImageSource, path)) as (label, file):
        try:
            return file.read(_HEAD)
        except OSError as error:
            raise InvalidMediaError(f"{label} cannot be read: {error.strerror}.") from error


def _kind(path: Path) -> str | None:
    """The MIME type of a picture or a PDF."""
    head = _head(path)
    return sniff(head) or (_PDF if is_pdf(head) else None)


def _named(path: Path) -> str:
    """The MIME type of a file that was named; one that is no medium is refused."""
    kind = _kind(path)
    if kind is None:
        found = lookalike(_head(path))
        raise InvalidMediaError(
            f"The file {str(path)!r} is neither a picture nor a PDF: it looks like {found.name}. {found.hint}".rstrip()
        )
    return kind


def _pages(path: Path, kind: str, unreadable: Unreadable | None) -> Iterator[MediaPage]:
    if kind != _PDF:
        yield MediaPage(path)
        return
    try:
        count = _page_count(path)
    except InvalidMediaError as error:
        if unreadable is None:
            raise
        unreadable(path, error)
        return
    yield from (MediaPage(path, number, count) for number in range(1, count + 1))


def _page_count(path: Path) -> int:
    source = from_path(DocumentSource, path)
    with opened(source) as (label, file), pdfium.opened(file, label) as document, pdfium.lock():
        return len(document)


def _drawn(path: Path, number: int, limits: MediaLimits) -> bytes:
    with opened(from_path(DocumentSource, path)) as (label, file):
        return draw_page(file, number, limits=limits, label=label)


def draw_page(file: BinaryIO, number: int, *, limits: MediaLimits, label: str) -> bytes:
    """A page of a PDF as a PNG or JPEG file.

    Args:
        file: Binary and seekable.
        number: Of the page, counted from 1.
        limits: Bounds on bytes and pixels.
        label: How to call the document in an error.

    Raises:
        InvalidMediaError: It is no PDF, or has no such page.
        ConfigurationError: pypdfium2 or Pillow is not installed.
    """
    from minicpm_core.media.documents import PAGE_PIXELS, read_pages
    from minicpm_core.media.images import load_image

    (page,) = read_pages(
        file, pages=(number, number), max_pages=1, max_pixels=PAGE_PIXELS, with_text=False, label=label
    )
    (part,) = load_image(ImageSource("pil", page.image), accept=frozenset({JPEG, PNG}), limits=limits)
    return binascii.a2b_base64(part.base64)
