"""Whatever is handed in, there is a part or one of the library's own errors."""

from __future__ import annotations

import base64
import contextlib
import io
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minicpm_core.errors import UnsupportedContentError
from minicpm_core.media import (
    MediaLimits,
    image_from_base64,
    image_from_bytes,
    image_from_pil,
    image_from_url,
    load_image,
    needs_io,
)
from minicpm_core.media.sniff import lookalike, sniff
from minicpm_core.parts import ImageSource
from minicpm_core.types import Message
from tests.core.media.pictures import (
    EVERYTHING,
    PNG_AND_JPEG,
    animated,
    chunk,
    content,
    encoded,
    exif_block,
    jpeg,
    png,
    quarters,
    shown,
)

LIMITS = MediaLimits(max_pixels=1_000_000)
HEADS = [
    b"",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    png()[:33],
    b"\xff\xd8\xff",
    jpeg(exif=exif_block(6))[:60],
    b"GIF89a",
    b"RIFF\x10\0\0\0WEBPVP8X",
    b"RIFF\x10\0\0\0WEBPVP8L",
    b"BM" + bytes(12) + b"\x28\0\0\0",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"\0\0\0\x18ftypavif",
    b"\0\0\0\x18ftypheic",
    b"<svg",
]
WHOLE = [
    png(),
    jpeg(exif=exif_block(6)),
    encoded(quarters(), "GIF"),
    animated("GIF"),
    encoded(quarters(), "WEBP", exif=exif_block(8)),
    animated("WEBP"),
    encoded(quarters(), "BMP"),
    encoded(quarters(), "TIFF"),
    encoded(quarters(), "TIFF", compression="tiff_lzw", exif=exif_block(5)),
    encoded(quarters().convert("P"), "PNG", transparency=0, exif=exif_block(3)),
]


def harmless(source: ImageSource, accept: frozenset[str]) -> None:
    """Load it; the library's own errors are fine, anything else is not."""
    with contextlib.suppress(UnsupportedContentError):
        (part,) = load_image(source, accept=accept, limits=LIMITS)
        assert shown(part).size == (part.width, part.height)


@given(head=st.sampled_from(HEADS), tail=st.binary(max_size=300))
@settings(max_examples=400)
def test_no_bytes_do_harm(head: bytes, tail: bytes) -> None:
    data = head + tail
    assert sniff(data) == sniff(data[:128])
    assert lookalike(data).name
    needs_io([Message("user", (image_from_bytes(data),))])
    with contextlib.suppress(UnsupportedContentError):
        load_image(image_from_bytes(data), accept=EVERYTHING, limits=LIMITS)
    with contextlib.suppress(UnsupportedContentError):
        load_image(image_from_bytes(data), accept=frozenset({"image/png"}), limits=LIMITS)


@given(
    data=st.sampled_from(WHOLE),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 60),
)
@settings(max_examples=400)
def test_no_damaged_picture_does_harm(data: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    with contextlib.suppress(UnsupportedContentError):
        load_image(image_from_bytes(bytes(damaged[: len(damaged) - cut])), accept=PNG_AND_JPEG, limits=LIMITS)


@given(text=st.text(max_size=80))
def test_no_text_does_harm(text: str) -> None:
    for make in (image_from_base64, image_from_url):
        with contextlib.suppress(UnsupportedContentError):
            harmless(make(text), EVERYTHING)
    harmless(ImageSource("data_url", text), EVERYTHING)
    harmless(ImageSource("data_url", f"data:image/png;base64,{text}"), EVERYTHING)


@given(extra=st.binary(max_size=500), line=st.integers(1, 80), url_safe=st.booleans())
def test_every_wrapping_of_base64_gives_the_same_bytes_back(extra: bytes, line: int, url_safe: bool) -> None:
    data = png()[:33] + chunk(b"teSt", extra) + png()[33:]
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    lines = "\n".join(text[at : at + line] for at in range(0, len(text), line))
    for source in (image_from_base64(lines), image_from_url(f"data:image/png;base64,{lines}")):
        (part,) = load_image(source, accept=PNG_AND_JPEG)
        assert part.base64 == base64.b64encode(data)
        assert content(part) == data


@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"]),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    accept=st.sampled_from([PNG_AND_JPEG, frozenset({"image/png"}), frozenset({"image/jpeg"})]),
)
def test_every_pil_image_is_sent_whole_and_left_alone(
    mode: str, width: int, height: int, accept: frozenset[str]
) -> None:
    image = Image.frombytes("L", (width, height), bytes((x * 37) % 256 for x in range(width * height)))
    image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert("RGB").convert(mode)
    before = image.tobytes()
    (part,) = load_image(image_from_pil(image), accept=accept)
    assert (part.width, part.height) == shown(part).size == (width, height)
    assert part.media_type in accept
    assert image.tobytes() == before


@given(width=st.integers(0, 2**32 - 1), height=st.integers(0, 2**32 - 1))
def test_no_promised_size_is_believed_beyond_the_limit(width: int, height: int) -> None:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    fits = 0 < width * height <= LIMITS.max_pixels
    with contextlib.nullcontext() if fits else contextlib.suppress(UnsupportedContentError):
        (part,) = load_image(image_from_bytes(data), accept=PNG_AND_JPEG, limits=LIMITS)
        assert fits
        assert (part.width, part.height) == (width, height)


@given(data=st.binary(max_size=100), position=st.integers(0, 120))
def test_the_position_of_a_file_is_never_moved(data: bytes, position: int) -> None:
    file = io.BytesIO(data)
    file.seek(position)
    with contextlib.suppress(UnsupportedContentError):
        load_image(ImageSource("file", file), accept=PNG_AND_JPEG)
    assert file.tell() == position
