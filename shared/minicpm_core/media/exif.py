"""The orientation tag of an EXIF block, and nothing else of it.

An EXIF block is a small TIFF file: byte order, the number 42, and the offset of a table of 12-byte entries.
The table comes from strangers, so its length is bounded and every read is checked.
"""

from __future__ import annotations

import struct

EXIF_MARK = b"Exif\0\0"
"""What stands before the TIFF header in a JPEG, and in some WebP files."""

UPRIGHT = 1
_ORIENTATION_TAG = 0x0112
_INTEGER_FORMATS = {3: "H", 4: "I"}
_ORIENTATIONS = range(1, 9)
_MAX_ENTRIES = 1024
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def orientation(block: bytes) -> int:
    """The orientation that an EXIF block asks for.

    Args:
        block: The block, with or without `Exif` and two zero bytes before it.

    Returns:
        1 to 8 as EXIF 2.3 numbers them (1 is upright); 1 too where the tag is missing, broken or out of range, as
        browsers take it.
    """
    block = block.removeprefix(EXIF_MARK)
    order = _BYTE_ORDERS.get(block[:4])
    if order is None:
        return UPRIGHT
    try:
        (table,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, table)
        for entry in range(min(count, _MAX_ENTRIES)):
            at = table + 2 + 12 * entry
            tag, kind = struct.unpack_from(f"{order}HH", block, at)
            if tag == _ORIENTATION_TAG and kind in _INTEGER_FORMATS:
                (value,) = struct.unpack_from(order + _INTEGER_FORMATS[kind], block, at + 8)
                return value if value in _ORIENTATIONS else UPRIGHT
    except struct.error:  # an offset that points outside the block
        return UPRIGHT
    return UPRIGHT
