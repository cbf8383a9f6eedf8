"""The size of a picture from its header, and whether its end is there, without decoding a pixel.

Each parser walks the blocks of its format, jumping over their contents, for a bounded number of steps.  A file that
passes is not proven sound, but what is cut off, empty, or far too large is found before anything is sent.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import exif
from minicpm_core.media.sniff import BMP, GIF, JPEG, NAMES, PNG, WEBP, sniff

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_BLOCKS = 300_000
"""Steps of a walk. A GIF of 64 MiB has 262,144 full sub-blocks; no other format needs as many."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's header says.

    Attributes:
        media_type: The true MIME type.
        width: Pixels, as stored.
        height: Pixels, as stored.
        orientation: EXIF orientation, 1 (upright) to 8.
        animated: It has more than one frame.
        deep_gray: 16-bit grayscale, which Pillow (and so most servers) turns into a white sheet.
    """

    media_type: str
    width: int
    height: int
    orientation: int = exif.UPRIGHT
    animated: bool = False
    deep_gray: bool = False

    @property
    def plain(self) -> bool:
        """Whether the bytes can be sent as they are to a server that takes the type."""
        return self.orientation == exif.UPRIGHT and not self.animated and not self.deep_gray


class _BrokenError(Exception):
    """The walk found something wrong; the text ends the sentence that begins with the picture's name."""


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
        problem = _CUT_OFF
    except _BrokenError as error:
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
        if media_type == JPEG and _JPEG_END in tail:
            return _jpeg_header(head)[0]
        if media_type == PNG and tail.endswith(_PNG_END) and b"eXIf" not in tail:
            return _png(head, until=b"IDAT")
    except (struct.error, IndexError, _BrokenError):
        return None
    return None


_CUT_OFF = "is cut off: its end is missing"


def _cut_off() -> NoReturn:
    raise _BrokenError(_CUT_OFF)


_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def _png(data: bytes, until: bytes = b"IEND") -> Header:
    """PNG (W3C PNG 3rd edition, section 5): length, kind, content and checksum of each chunk, up to a kind."""
    if data[12:16] != b"IHDR" or zlib.crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
        raise _BrokenError("is broken: its first chunk is damaged")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    at, orientation, has_pixels = 33, exif.UPRIGHT, until == b"IDAT"
    for _ in range(_MAX_BLOCKS):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == until == b"IDAT":
            break
        if at + 12 + length > len(data):
            _cut_off()
        if kind == until:
            break
        if kind == b"eXIf":
            orientation = exif.orientation(data[at + 8 : at + 8 + length])
        has_pixels = has_pixels or kind == b"IDAT"
        at += 12 + length
    else:
        raise _BrokenError("is broken: it has too many chunks")
    if not has_pixels:
        raise _BrokenError("is broken: it holds no pixel data")
    return Header(PNG, width, height, orientation, deep_gray=(depth, colour) == (16, 0))


_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})
_APP1, _EOI, _FILL, _SOS = 0xE1, 0xD9, 0xFF, 0xDA


_JPEG_END = b"\xff\xd9"


def _jpeg(data: bytes) -> Header:
    """JPEG (ITU T.81, annex B): a header, and an end mark somewhere behind it, since cameras add a trailer."""
    header, scan = _jpeg_header(data)
    if data.rfind(_JPEG_END, scan) < 0:
        _cut_off()
    return header


def _jpeg_header(data: bytes) -> tuple[Header, int]:
    """What the marker segments up to the first scan say, and where the scan begins."""
    at, size, orientation = 2, (0, 0), 0
    for _ in range(_MAX_BLOCKS):
        at = data.find(b"\xff", at)  # stray bytes before a marker are skipped, as libjpeg does
        if at < 0:
            _cut_off()
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
            size = struct.unpack_from(">HH", data, at + 5)
        elif marker == _APP1 and not orientation and data[at + 4 : at + 10] == exif.EXIF_MARK:
            orientation = exif.orientation(data[at + 4 : at + 2 + length])
        at += 2 + max(length, 2)
    else:
        raise _BrokenError("is broken: it has too many segments")
    if marker == _EOI or size == (0, 0):
        raise _BrokenError("is broken: it holds no picture")
    return Header(JPEG, size[1], size[0], orientation or exif.UPRIGHT), at


_EXTENSION, _FRAME = 0x21, 0x2C


def _table_size(flags: int) -> int:
    """Bytes of a GIF colour table, by the flags before it."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _gif(data: bytes) -> Header:
    """GIF (version 89a): blocks up to the second frame. A missing trailer is forgiven, a missing piece is not."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at, frames, in_blocks = 13 + _table_size(flags), 0, False
    for _ in range(_MAX_BLOCKS):
        if at >= len(data):
            break
        byte = data[at]
        if in_blocks:  # a run of sub-blocks, each after its length, ended by a length of 0
            at += 1 + byte
            in_blocks = byte != 0
        elif byte == _EXTENSION:
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
        raise _BrokenError("is broken: it has too many blocks")
    if frames == 0 or in_blocks or at > len(data):
        _cut_off()
    return Header(GIF, width, height, animated=frames > 1)


def _webp(data: bytes) -> Header:
    """WebP (RFC 9649): one of three first chunks tells the size; a VP8X file may carry EXIF and frames."""
    (length,) = struct.unpack_from("<I", data, 4)
    if 8 + length > len(data):
        _cut_off()
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return Header(WEBP, width, height, _webp_orientation(data), animated=bool(data[20] & 2))
    if kind == b"VP8L" and data[20:21] == b"\x2f":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header(WEBP, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header(WEBP, width & 0x3FFF, height & 0x3FFF)
    raise _BrokenError("is broken: its first chunk is damaged")


def _webp_orientation(data: bytes) -> int:
    at = 12
    for _ in range(_MAX_BLOCKS):
        if at + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            return exif.orientation(data[at + 8 : at + 8 + length])
        at += 8 + length + (length & 1)
    return exif.UPRIGHT


_BMP_OLD_HEADER = 12
_BMP_RAW = frozenset({0, 3})


def _bmp(data: bytes) -> Header:
    """BMP: where the pixels are not compressed, their number of bytes is known. A negative height runs downwards."""
    start, header_size = struct.unpack_from("<II", data, 10)
    if header_size == _BMP_OLD_HEADER:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, depth, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)
    if width > 0 and compression in _BMP_RAW and start + (width * depth + 31) // 32 * 4 * height > len(data):
        _cut_off()
    return Header(BMP, width, height)


_PARSERS: dict[str, Callable[[bytes], Header]] = {PNG: _png, JPEG: _jpeg, GIF: _gif, WEBP: _webp, BMP: _bmp}
