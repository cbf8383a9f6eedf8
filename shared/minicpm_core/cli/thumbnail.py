"""A photograph in a terminal: two pixels a character, as upper half blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from rich.color import Color
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

_COLOURS = frozenset({"truecolor", "256", "windows"})
_HIGHEST = 14
"""Rows; a row is two pixels."""


def thumbnail(picture: Path | BinaryIO, console: Console, *, width: int) -> Text | None:
    """The photograph in small, or `None` where the terminal has too few colours, or Pillow is missing.

    Args:
        picture: A file that Pillow can read.
        console: Where it is to be shown.
        width: The most columns.
    """
    if not console.is_terminal or console.no_color or console.color_system not in _COLOURS:
        return None
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return None
    with Image.open(picture) as opened:
        small = ImageOps.exif_transpose(opened).convert("RGB")
    small.thumbnail((width, 2 * _HIGHEST))
    columns, lines = small.width, small.height // 2 * 2
    data = small.tobytes()
    pixels = [data[at : at + 3] for at in range(0, len(data), 3)]
    text = Text(no_wrap=True, end="")
    for y in range(0, lines, 2):
        for x in range(columns):
            upper, lower = (Color.from_rgb(*pixels[(y + below) * columns + x]) for below in (0, 1))
            text.append("▀", Style(color=upper, bgcolor=lower))
        text.append("\n")
    return text
