"""Documents: the pages of a PDF as pictures, and text files as text."""

from __future__ import annotations

import codecs
import contextlib
import math
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import pdfium
from minicpm_core.media.pdfium import is_pdf
from minicpm_core.media.sniff import NAMES, lookalike, sniff
from minicpm_core.parts import TILE_PIXELS

if TYPE_CHECKING:
    import threading

    from PIL.Image import Image

__all__ = ["PAGE_PIXELS", "Page", "PageRange", "is_pdf", "page_scale", "read_pages", "read_text"]

PAGE_PIXELS = 9 * TILE_PIXELS
"""Pixels of a page: as many as the model sees, in 9 tiles. An A4 page then has about 137 dpi."""

MAX_SCALE = 300 / 72
"""Pixels per point (1/72 inch) at most: 300 dpi, which a small page does not need more of."""

MAX_SIDE = 8192
"""Pixels of a page's longer side at most, however narrow it is."""

MAX_POINTS = 144_000
"""Points of a page's longer side at most: 50 m, ten times what PDF promises (ISO 32000-1, annex C)."""

MAX_PAGE_CHARACTERS = 1_000_000
"""Characters of one page's text layer at most: some hundred times a page in small print."""

PageRange: TypeAlias = tuple[int, int]
"""First and last page, counted from 1, both included."""

_LESS = 1 - 1e-9  # so that rounding does not bring the same picture again
_HYPHENS = {0x02: "-", 0xFFFE: "-"}  # how PDFium writes the hyphen of a word that is divided at the end of a line


class Page(NamedTuple):
    """A page of a document.

    Attributes:
        number: Counted from 1.
        image: The page in RGB, upright, on white, with its form fields.
        text: Its text layer, empty where it has none; `None` where it was not asked for.
    """

    number: int
    image: Image
    text: str | None


def read_pages(
    data: bytes | BinaryIO,
    *,
    pages: PageRange | None,
    max_pages: int,
    max_pixels: int,
    with_text: bool,
    label: str,
    stop: threading.Event | None = None,
) -> list[Page]:
    """The pages of a PDF as pictures.

    A page is rendered with just under `max_pixels` pixels, `scale = sqrt(max_pixels / (width x height))`, within
    `MAX_SCALE` and `MAX_SIDE`: more would cost no further tokens, since the model scales it down.

    Args:
        data: The PDF, or a seekable binary file of it, of which only the needed parts are read; its position is put
            back.
        pages: Which to read; `None` for all.
        max_pages: The most pages that are read. They are never left out silently.
        max_pixels: Pixels (width x height) of a page's picture at most.
        with_text: Read the text layers, too.
        label: How to call the document in an error.
        stop: Set by another thread to give up before the next page.

    Raises:
        InvalidMediaError: It is no PDF, broken, empty or encrypted; has more than `max_pages` pages and none are
            chosen; does not have the chosen ones; a page is impossibly large or cannot be drawn; or `stop` was set.
        ConfigurationError: pypdfium2 is not installed.
    """
    if pages is not None and not 1 <= pages[0] <= pages[1]:
        raise InvalidMediaError(
            f"{label}: pages={pages} is no range of pages. Give the first and the last one, counted from 1."
        )
    with pdfium.opened(data, label) as document:
        with pdfium.lock():
            count = len(document)
        first, last = _chosen(pages, count, max_pages, label)
        found: list[Page] = []
        for number in range(first, last + 1):
            if stop is not None and stop.is_set():
                raise InvalidMediaError(f"{label} was not read to its end: it was stopped.")
            found.append(_page(document, number, max_pixels, with_text=with_text, label=f"{label}, page {number},"))
        return found


def _chosen(pages: PageRange | None, count: int, max_pages: int, label: str) -> PageRange:
    """The first and the last page to read."""
    if count < 1:
        raise InvalidMediaError(f"{label} has no pages.")
    if pages is None:
        if count > max_pages:
            raise InvalidMediaError(
                f"{label} has {count} pages; at most {max_pages} are sent. Choose some with pages=(1, {max_pages}), "
                "or raise the limit."
            )
        return 1, count
    first, last = pages
    if last > count:
        raise InvalidMediaError(f"{label} ends with page {count}, so pages {first} to {last} cannot be sent.")
    if last - first + 1 > max_pages:
        raise InvalidMediaError(
            f"{label}: pages {first} to {last} are {last - first + 1} pages; at most {max_pages} are sent. "
            "Choose fewer, or raise the limit."
        )
    return pages


def _page(document: Any, number: int, max_pixels: int, *, with_text: bool, label: str) -> Page:
    with pdfium.lock(), pdfium.as_broken(label), contextlib.closing(document[number - 1]) as page:
        scale = page_scale(page.get_size(), max_pixels, label)
        text = _text(page, label) if with_text else None
        with contextlib.closing(page.render(scale=scale, rev_byteorder=True)) as bitmap:
            return Page(number, bitmap.to_pil().convert("RGB"), text)  # a copy, of memory of its own


def _text(page: Any, label: str) -> str:
    with contextlib.closing(page.get_textpage()) as layer:
        count = layer.count_chars()
        if count > MAX_PAGE_CHARACTERS:
            raise InvalidMediaError(
                f"{label} has {count} characters of text; at most {MAX_PAGE_CHARACTERS} are read. Send it without text."
            )
        text: str = layer.get_text_bounded()
    return _unix_lines(text.translate(_HYPHENS)).strip()


def page_scale(size: tuple[float, float], max_pixels: int, label: str) -> float:
    """Pixels per point, such that the picture of a page has just under `max_pixels` pixels.

    Args:
        size: Width and height in points.
        max_pixels: The bound. Sides are rounded up to whole pixels, and the bound holds for these.
        label: How to call the page in an error.

    Raises:
        InvalidMediaError: No page has this size.
    """
    width, height = size
    if not (0 < width <= MAX_POINTS and 0 < height <= MAX_POINTS):  # nor is it so for NaN
        raise InvalidMediaError(
            f"{label} cannot be drawn: its size is {width:g} x {height:g} points; at most {MAX_POINTS} are drawn."
        )
    scale = min(math.sqrt(max_pixels / (width * height)), MAX_SCALE, MAX_SIDE / max(width, height))
    columns, rows = math.ceil(width * scale), math.ceil(height * scale)
    while columns * rows > max_pixels and columns > 1 and rows > 1:
        scale = max((columns - 1) / width, (rows - 1) / height) * _LESS  # the next smaller picture
        columns, rows = math.ceil(width * scale), math.ceil(height * scale)
    return scale


# --- Text ------------------------------------------------------------------------------------------------------------

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_MAX_BYTES_PER_CHARACTER = 4
_PEEK = 1024
_CONTROLS = frozenset(range(0x20)) - frozenset(b"\t\n\f\r\x1b")  # a form feed parts pages; escape colours a log


def read_text(data: bytes, *, label: str, max_characters: int) -> str:
    """A file of plain text or Markdown; its lines end with a line feed.

    Args:
        data: In UTF-8, or in UTF-16 or UTF-32 with a byte order mark.
        label: How to call the file in an error.
        max_characters: The most characters.

    Raises:
        InvalidMediaError: It is empty, too long, not text, or in another encoding.
    """
    too_long = f"{label} is too long: at most {max_characters} characters are sent."
    if len(data) > _MAX_BYTES_PER_CHARACTER * (max_characters + 1):
        raise InvalidMediaError(too_long)
    codec, name = next(((codec, name) for mark, codec, name in _MARKS if data.startswith(mark)), ("utf-8", "UTF-8"))
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        raise InvalidMediaError(f"{label} is not {name} text: {_other_encoding(data)}") from None
    if is_pdf(data) or any(ord(character) in _CONTROLS for character in set(text)):
        raise InvalidMediaError(f"{label} is not a text: it looks like {_looks(data)}.")
    if not text.strip():
        raise InvalidMediaError(f"{label} holds no text: it is {'blank' if text else 'empty'}.")
    text = _unix_lines(text)
    if len(text) > max_characters:
        raise InvalidMediaError(too_long)
    return text


def _looks(data: bytes) -> str:
    picture = sniff(data)
    if picture is not None:
        return f"a picture ({NAMES[picture]})"
    found = lookalike(data)
    return found.name if found.media else "binary data"


def _other_encoding(data: bytes) -> str:
    if _CONTROLS.isdisjoint(data[:_PEEK]) and not lookalike(data).media:
        return "it may be text in another encoding. Save it as UTF-8."
    return f"it looks like {lookalike(data).name}."


def _unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
