"""JPEG: the walk through the marker segments (ITU T.81, annex B)."""

from __future__ import annotations

import struct

from minicpm_core.media import exif, icc
from minicpm_core.media.sniff import JPEG
from minicpm_core.media.walk import MAX_BLOCKS, BrokenError, Header, cut_off

JPEG_END = b"\xff\xd9"

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})
_APP1, _APP2, _EOI, _FILL, _SOS = 0xE1, 0xE2, 0xD9, 0xFF, 0xDA
_PROFILE_MARK = b"ICC_PROFILE\0\x01"
"""Before the first piece of a profile, and its number."""

_CMYK_BANDS, _COLOUR_BANDS = 4, 3


def jpeg(data: bytes) -> Header:
    """A header, and an end mark somewhere behind it, since cameras add a trailer."""
    header, scan = jpeg_header(data)
    if data.rfind(JPEG_END, scan) < 0:
        cut_off()
    return header


def jpeg_header(data: bytes) -> tuple[Header, int]:
    """What the segments up to the first scan say, and where the scan begins."""
    at, height, width, bands, orientation, profile = 2, 0, 0, 0, 0, b""
    for _ in range(MAX_BLOCKS):
        at = data.find(b"\xff", at)  # stray bytes before a marker are skipped, as libjpeg does
        if at < 0:
            cut_off()
        marker = data[at + 1]
        if marker == _FILL:
            at += 1
            continue
        if marker in _BARE_MARKERS:
            at += 2
            continue
        if marker in {_SOS, _EOI}:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _SOF:
            height, width, bands = struct.unpack_from(">HHB", data, at + 5)
        elif marker == _APP1 and not orientation and data[at + 4 : at + 10] == exif.EXIF_MARK:
            orientation = exif.orientation(data[at + 4 : at + 2 + length])
        elif marker == _APP2 and not profile and data[at + 4 : at + 17] == _PROFILE_MARK:
            profile = data[at + 18 : at + 2 + length]
        at += 2 + max(length, 2)
    else:
        raise BrokenError("is broken: it has too many segments")
    if marker == _EOI or not (height or width):
        raise BrokenError("is broken: it holds no picture")
    odd = bands == _CMYK_BANDS or (bands == _COLOUR_BANDS and icc.differs(profile))
    return Header(JPEG, width, height, orientation or exif.UPRIGHT, odd_colours=odd), at
