"""Sizes from headers alone, and hostile files: bombs, endless walks, contradictions."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import image_from_bytes, load_image
from minicpm_core.media.headers import Header, may_need_work, read_header
from minicpm_core.media.sniff import sniff
from tests.core.media.pictures import (
    EVERYTHING,
    PNG_AND_JPEG,
    animated,
    chunk,
    encoded,
    exif_block,
    jpeg,
    png,
    png_of_size,
    quarters,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = [(1, 1), (2, 1), (255, 3), (3, 256), (257, 259)]


def header(data: bytes) -> Header:
    media_type = sniff(data)
    assert media_type
    found = read_header(data, media_type, "The image")
    assert found
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"icc_profile": b"p" * 150_000}),
        ("GIF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": exif_block(1)}),
        ("BMP", {}),
    ],
)
def test_the_size_is_read_as_pillow_reads_it(kind: str, options: dict[str, object], size: tuple[int, int]) -> None:
    data = encoded(quarters(size), kind, **options)
    with Image.open(io.BytesIO(data)) as image:
        assert (header(data).width, header(data).height) == image.size == size
    assert header(data).plain


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_every_mode_of_png_and_jpeg_is_measured(mode: str) -> None:
    image = quarters().convert("I").convert("I;16") if mode == "I;16" else quarters().convert(mode)
    data = encoded(image, "JPEG" if mode == "CMYK" else "PNG")
    assert (header(data).width, header(data).height) == (64, 32)
    assert header(data).deep_gray == (mode == "I;16")


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_is_told_from_a_still(kind: str) -> None:
    assert header(animated(kind)).animated
    assert not header(encoded(quarters(), kind)).animated


def test_a_bmp_that_runs_downwards_has_a_positive_height() -> None:
    data = bytearray(encoded(quarters(), "BMP"))
    data[22:26] = struct.pack("<i", -32)
    assert (header(bytes(data)).width, header(bytes(data)).height) == (64, 32)


def test_a_bmp_with_the_oldest_header_is_measured() -> None:
    data = b"BM" + struct.pack("<IHHI", 100, 0, 0, 26) + struct.pack("<IHHHH", 12, 4, 3, 1, 24) + bytes(4 * 3 * 3)
    assert (header(data).width, header(data).height) == (4, 3)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (4, 3)


def test_a_gif_frame_beyond_its_screen_counts() -> None:
    screen = struct.pack("<6sHHBBB", b"GIF89a", 1, 1, 0, 0, 0)
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, 60_000, 60_000, 0) + b"\x02\x02\x44\x01\x00"
    assert (header(screen + frame + b";").width, header(screen + frame + b";").height) == (60_000, 60_000)
    with pytest.raises(InvalidMediaError, match="too large: 60000 x 60000"):
        load_image(image_from_bytes(screen + frame + b";"), accept=EVERYTHING)


def test_a_gif_without_its_last_byte_is_forgiven() -> None:
    """Old programs leave it out, and every decoder forgives them."""
    assert not header(encoded(quarters(), "GIF").removesuffix(b";")).animated


@pytest.mark.parametrize("stray", [b"\xff", b"\xff\xff\xff", b"\0", b"\xff\x01"])
def test_stray_bytes_between_jpeg_segments_are_skipped(stray: bytes) -> None:
    data = jpeg()
    assert (header(data[:20] + stray + data[20:]).width, header(data[:20] + stray + data[20:]).height) == (64, 32)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(png_of_size(0, 10), "no pixels", id="png-no-width"),
        pytest.param(png_of_size(10, 0), "no pixels", id="png-no-height"),
        pytest.param(png_of_size(2**31 - 1, 2**31 - 1), "too large", id="png-huge"),
        pytest.param(png_of_size(10_001, 10_000), "too large: 10001 x 10000", id="png-just-too-large"),
        pytest.param(png().replace(b"IHDR", b"IHDX", 1), "first chunk is damaged", id="png-no-ihdr"),
        pytest.param(png()[:16] + b"\xff" + png()[17:], "first chunk is damaged", id="png-checksum"),
        pytest.param(png()[:33] + chunk(b"IEND", b""), "no pixel data", id="png-no-idat"),
        pytest.param(png()[:33] + b"\xff\xff\xff\xffIDAT" + png()[41:], "cut off", id="png-endless-chunk"),
        pytest.param(png()[:33] + chunk(b"teSt", b"") * 300_001 + png()[33:], "too many chunks", id="png-many-chunks"),
        pytest.param(png()[:-12], "cut off", id="png-no-end"),
        pytest.param(jpeg()[:-2], "cut off", id="jpeg-no-end"),
        pytest.param(jpeg()[: len(jpeg()) // 2], "cut off", id="jpeg-half"),
        pytest.param(b"\xff\xd8\xff\xd9", "holds no picture", id="jpeg-empty"),
        pytest.param(b"\xff\xd8\xff\xda\0\x02\xff\xd9", "holds no picture", id="jpeg-no-frame"),
        pytest.param(b"\xff\xd8" + b"\xff" * 400_000, "too many segments", id="jpeg-fill-bytes"),
        pytest.param(b"\xff\xd8" + b"\xff\xe0\0\x02" * 400_000, "too many segments", id="jpeg-many-segments"),
        pytest.param(b"\xff\xd8\xff" + bytes(1000), "cut off", id="jpeg-zeros"),
        pytest.param(b"GIF89a" + b"\1\0\1\0\0\0\0" + b"!\xfe\1x" + b"\1x" * 400_000, "too many blocks", id="gif-many"),
        pytest.param(b"GIF89a" + b"\1\0\1\0\0\0\0" + b";", "cut off", id="gif-empty"),
        pytest.param(encoded(quarters(), "GIF")[:-30], "cut off", id="gif-cut"),
        pytest.param(encoded(quarters(), "WEBP")[:-1], "cut off", id="webp-cut"),
        pytest.param(encoded(quarters(), "WEBP").replace(b"VP8 ", b"VP9 "), "first chunk is damaged", id="webp-kind"),
        pytest.param(encoded(quarters(), "BMP")[:-1], "cut off", id="bmp-cut"),
        pytest.param(encoded(quarters(), "BMP")[:20], "cut off", id="bmp-header"),
    ],
)
def test_a_hostile_or_broken_file_is_refused_before_it_is_decoded(data: bytes, words: str) -> None:
    with pytest.raises(InvalidMediaError, match=words):
        load_image(image_from_bytes(data), accept=EVERYTHING)


def _jpeg_of_size(width: int, height: int) -> bytes:
    frame = struct.pack(">HBHHB", 8, 8, height, width, 0)
    return b"\xff\xd8\xff\xc0" + frame + b"\xff\xda\0\x02\0\xff\xd9"


def _gif_of_size(width: int, height: int) -> bytes:
    screen = struct.pack("<6sHHBBB", b"GIF89a", width, height, 0, 0, 0)
    return screen + struct.pack("<BHHHHB", 0x2C, 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00;"


def _webp_of_size(width: int, height: int) -> bytes:
    content = struct.pack("<I", 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _bmp_of_size(width: int, height: int) -> bytes:
    """Run-length encoded, so that any size may stand on few bytes."""
    info = struct.pack("<IiiHHIIIIII", 40, width, height, 1, 8, 1, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


@pytest.mark.parametrize("make", [png_of_size, _jpeg_of_size, _gif_of_size, _webp_of_size, _bmp_of_size])
def test_a_bomb_is_refused_by_its_header_in_every_format(make: Callable[[int, int], bytes]) -> None:
    """Whether it would be passed on or decoded first."""
    assert (header(make(300, 200)).width, header(make(300, 200)).height) == (300, 200)
    for accept in (EVERYTHING, PNG_AND_JPEG, frozenset({"image/png"}), frozenset({"image/jpeg"})):
        with pytest.raises(InvalidMediaError, match="too large: 60000 x 50000 pixels; the limit is 100000000"):
            load_image(image_from_bytes(make(60_000, 50_000)), accept=accept)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(png(), False, id="png"),
        pytest.param(jpeg(), False, id="jpeg"),
        pytest.param(jpeg(exif=exif_block(6)), True, id="turned"),
        pytest.param(png((300, 200)), True, id="png-large"),
        pytest.param(jpeg((300, 200)), True, id="jpeg-large"),
        pytest.param(encoded(quarters().convert("RGBA"), "PNG"), True, id="alpha"),
        pytest.param(encoded(quarters().convert("CMYK"), "JPEG"), True, id="cmyk"),
        pytest.param(jpeg(icc_profile=bytes(5000)), True, id="it-does-not-tell"),
        pytest.param(encoded(quarters(), "GIF"), True, id="gif"),
        pytest.param(b"<html>", False, id="no-picture"),
        pytest.param(b"", False, id="nothing"),
    ],
)
def test_whether_a_picture_will_be_decoded_is_guessed_from_its_first_bytes(data: bytes, expected: bool) -> None:
    assert may_need_work(data[:3072], most_pixels=10_000) is expected
