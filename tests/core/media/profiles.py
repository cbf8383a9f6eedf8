"""Colour profiles made for the tests: what ICC.1 asks of a display or gray profile, and no more."""

from __future__ import annotations

import struct
from typing import Any, cast

from PIL import ImageCms

Row = tuple[float, float, float]
RED, GREEN, BLUE = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
P3 = (0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)
WHITE = (0.9642, 1.0, 0.8249)

_MADE = cast("Any", ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType]
SRGB = ImageCms.ImageCmsProfile(_MADE).tobytes()


def xyz(row: Row) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in row))


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(value * 256))


def parametric(kind: int, *values: float) -> bytes:
    numbers = (round(value * 65536) for value in values)
    return b"para\0\0\0\0" + struct.pack(f">HH{len(values)}i", kind, 0, *numbers)


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of version 2 with these tags."""
    at, table, content = 128 + 4 + 12 * len(tags), b"", b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, at + len(content), len(tag))
        content += tag
    size = at + len(content)
    head = struct.pack(">I4sI4s4s4s12x4s24x", size, b"\0\0\0\0", 0x02400000, b"mntr", space, b"XYZ ", b"acsp")
    head += b"\0" * 4 + struct.pack(">3i", *(round(value * 65536) for value in WHITE)) + bytes(48)
    return head[:128] + struct.pack(">I", len(tags)) + table + content


def display(red: Row, green: Row, blue: Row, curve: bytes | None = None) -> bytes:
    """A display with these primaries."""
    curve = curve or gamma(2.2)
    return profile(
        b"RGB ",
        {
            b"wtpt": xyz(WHITE),
            **{name: xyz(row) for name, row in ((b"rXYZ", red), (b"gXYZ", green), (b"bXYZ", blue))},
            **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
        },
    )


SWAPPED = display(GREEN, RED, BLUE)
"""A display whose red is green, so that it cannot be overlooked whether it was heeded."""

DISPLAY_P3 = display(*P3)
LINEAR_GRAY = profile(b"GRAY", {b"wtpt": xyz(WHITE), b"kTRC": gamma(1.0)})
GARBAGE = SWAPPED[:128] + b"\xff" * 200
