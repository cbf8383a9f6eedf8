"""PNG and APNG: the walk through the chunks (W3C PNG 3rd edition, section 5)."""

from __future__ import annotations

import struct
import zlib

from minicpm_core.media import exif, icc
from minicpm_core.media.sniff import PNG
from minicpm_core.media.walk import MAX_BLOCKS, BrokenError, Header, cut_off

PNG_END = b"\0\0\0\0IEND\xaeB`\x82"

_WITH_ALPHA = frozenset({4, 6})
_IN_COLOUR = frozenset({2, 3, 6})
_MAX_PROFILE = 1024 * 1024
"""Bytes that a profile may unpack to, as in Pillow, so that servers would refuse a larger one."""


def png(data: bytes, until: bytes = b"IEND") -> Header:
    """What the chunks up to a kind say: length, kind, content and checksum of each.

    Args:
        data: The file, or its beginning.
        until: `IEND`, or `IDAT` where only the beginning is at hand.
    """
    if data[12:16] != b"IHDR" or zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        raise BrokenError("is broken: its first chunk is damaged")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    found, has_pixels = dict[bytes, bytes](), until == b"IDAT"
    at = 33
    for _ in range(MAX_BLOCKS):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == until == b"IDAT":
            break
        if at + 12 + length > len(data):
            cut_off()
        if kind == until:
            break
        if kind in _TELLING:
            found[kind] = data[at + 8 : at + 8 + length]
        has_pixels = has_pixels or kind == b"IDAT"
        at += 12 + length
    else:
        raise BrokenError("is broken: it has too many chunks")
    if not has_pixels:
        raise BrokenError("is broken: it holds no pixel data")
    return Header(
        PNG,
        width,
        height,
        orientation=exif.orientation(found.get(b"eXIf", b"")),
        layered=int.from_bytes(found.get(b"acTL", b"")[:4], "big") > 1,
        deep_gray=(depth, colour) == (16, 0),
        alpha=colour in _WITH_ALPHA or b"tRNS" in found,
        odd_colours=colour in _IN_COLOUR and icc.differs(_profile(found.get(b"iCCP", b""))),
    )


_TELLING = frozenset({b"acTL", b"eXIf", b"iCCP", b"tRNS"})


def _profile(content: bytes) -> bytes:
    """The profile in an `iCCP` chunk; empty where it is broken, as every program takes it."""
    _, mark, packed = content.partition(b"\0")
    if not mark:
        return b""
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], _MAX_PROFILE)
    except zlib.error:
        return b""
    if unpacker.unconsumed_tail:
        raise BrokenError("is broken: its colour profile unpacks to more than 1 MiB")
    return profile
