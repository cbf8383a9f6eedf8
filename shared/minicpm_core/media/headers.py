"""The size of a picture from its header, and whether its end is there, without decoding a pixel.

Each parser walks the blocks of its format, jumping over their contents, for a bounded number of steps.  A file that
passes is not proven sound, but what is cut off, empty, or far too large is found before anything is sent.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from minicpm_core.errors import InvalidMediaError
from minicpm_core.media.sniff import BMP, GIF, JPEG, NAMES, PNG, WEBP, sniff
from minicpm_core.media.walk import CUT_OFF, BrokenError, Header
from minicpm_core.media.walk_jpeg import JPEG_END, jpeg, jpeg_header
from minicpm_core.media.walk_others import bmp, gif, webp
from minicpm_core.media.walk_png import PNG_END, png

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Header", "glance", "may_need_work", "read_header"]


def read_header(data: bytes, media_type: str, label: str) -> Header | None:
    """The header of a picture.

    Args:
        data: The whole file.
        media_type: What `sniff` said it is.
        label: How to call the picture in an error.

    Returns:
        `None` for the types whose headers only Pillow reads here (TIFF, AVIF, HEIC).

    Raises:
        InvalidMediaError: The picture is cut off or broken.
    """
    parser = _PARSERS.get(media_type)
    if parser is None:
        return None
    try:
        return parser(data)
    except (struct.error, IndexError):
        problem = CUT_OFF
    except BrokenError as error:
        problem = str(error)
    raise InvalidMediaError(f"{label} ({NAMES[media_type]}, {len(data)} bytes) {problem}.")


def glance(head: bytes, tail: bytes) -> Header | None:
    """The header of a large JPEG or PNG by its two ends, where they are enough to tell all.

    Args:
        head: The first bytes of the file.
        tail: Its last bytes; the two must not overlap.

    Returns:
        `None` where only the whole file tells: another type, a header longer than `head`, something behind the end, or
        anything that is not as it should be.
    """
    media_type = sniff(head)
    try:
        if media_type == JPEG and JPEG_END in tail:
            return jpeg_header(head)[0]
        if media_type == PNG and tail.endswith(PNG_END) and b"eXIf" not in tail:
            return png(head, until=b"IDAT")
    except (struct.error, IndexError, BrokenError):
        return None
    return None


def may_need_work(head: bytes, *, most_pixels: int) -> bool:
    """Whether a picture will probably be decoded, guessed from its first bytes: for choosing a thread, not a fate.

    Args:
        head: The first kilobytes of the file.
        most_pixels: The most pixels that are sent of it.

    Returns:
        `False` for what is no picture at all, since that is refused quickly; `True` where `head` does not tell.
    """
    media_type = sniff(head)
    try:
        if media_type == JPEG:
            found = jpeg_header(head)[0]
        elif media_type == PNG:
            found = png(head, until=b"IDAT")
        else:
            return media_type is not None
    except (struct.error, IndexError, BrokenError):
        return True
    return not found.plain or found.alpha or found.odd_colours or found.width * found.height > most_pixels


_PARSERS: dict[str, Callable[[bytes], Header]] = {PNG: png, JPEG: jpeg, GIF: gif, WEBP: webp, BMP: bmp}
