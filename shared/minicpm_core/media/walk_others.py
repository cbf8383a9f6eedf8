"""GIF, WebP and BMP: the walks through their blocks."""

from __future__ import annotations

import struct

from minicpm_core.media import exif, icc
from minicpm_core.media.sniff import BMP, GIF, WEBP
from minicpm_core.media.walk import MAX_BLOCKS, BrokenError, Header, cut_off

_EXTENSION, _FRAME = 0x21, 0x2C
_CONTROL = b"\x21\xf9\x04"


def _table_size(flags: int) -> int:
    """Bytes of a GIF colour table, by the flags before it."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def gif(data: bytes) -> Header:
    """GIF (version 89a): blocks up to the second frame. A missing trailer is forgiven, a missing piece is not."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at, frames, in_blocks, alpha = 13 + _table_size(flags), 0, False, False
    for _ in range(MAX_BLOCKS):
        if at >= len(data):
            break
        byte = data[at]
        if in_blocks:  # a run of sub-blocks, each after its length, ended by a length of 0
            at += 1 + byte
            in_blocks = byte != 0
        elif byte == _EXTENSION:
            alpha = alpha or (frames == 0 and data[at : at + 3] == _CONTROL and bool(data[at + 3] & 1))
            at += 2
            in_blocks = True
        elif byte == _FRAME and frames == 0:
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, at + 1)
            width, height = max(width, left + wide), max(height, top + high)
            at += 11 + _table_size(flags)
            frames, in_blocks = 1, True
        else:
            frames += byte == _FRAME
            break
    else:
        raise BrokenError("is broken: it has too many blocks")
    if frames == 0 or in_blocks or at > len(data):
        cut_off()
    return Header(GIF, width, height, animated=frames > 1, alpha=alpha)


def webp(data: bytes) -> Header:
    """WebP (RFC 9649): one of three first chunks tells the size; a VP8X file may carry EXIF and frames."""
    (length,) = struct.unpack_from("<I", data, 4)
    if 8 + length > len(data):
        cut_off()
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        chunks = _webp_chunks(data)
        return Header(
            WEBP,
            width,
            height,
            orientation=exif.orientation(chunks.get(b"EXIF", b"")),
            animated=bool(data[20] & _ANIMATED),
            alpha=bool(data[20] & _ALPHA),
            odd_colours=icc.differs(chunks.get(b"ICCP", b"")),
        )
    if kind == b"VP8L" and data[20:21] == b"\x2f":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header(WEBP, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, alpha=bool(bits >> 28 & 1))
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header(WEBP, width & 0x3FFF, height & 0x3FFF)
    raise BrokenError("is broken: its first chunk is damaged")


_ANIMATED, _ALPHA = 0x02, 0x10


def _webp_chunks(data: bytes) -> dict[bytes, bytes]:
    """The first EXIF block and colour profile."""
    found, at = dict[bytes, bytes](), 12
    for _ in range(MAX_BLOCKS):
        if at + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind in {b"EXIF", b"ICCP"} and kind not in found:
            found[kind] = data[at + 8 : at + 8 + length]
        at += 8 + length + (length & 1)
    return found


_BMP_OLD_HEADER = 12
_BMP_RAW = frozenset({0, 3})


def bmp(data: bytes) -> Header:
    """BMP: where the pixels are not compressed, their number of bytes is known. A negative height runs downwards."""
    start, header_size = struct.unpack_from("<II", data, 10)
    if header_size == _BMP_OLD_HEADER:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, depth, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)
    if width > 0 and compression in _BMP_RAW and start + (width * depth + 31) // 32 * 4 * height > len(data):
        cut_off()
    return Header(BMP, width, height)
