"""Files that are made to do harm: there is a picture or a clear error, in bounded memory and time."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from minicpm_core.errors import InvalidMediaError, UnsupportedContentError
from minicpm_core.media import MediaLimits, image_from_bytes, load_image
from minicpm_core.media.wanted import MOST_FRAMES
from tests.core.media.pictures import (
    EVERYTHING,
    PNG_AND_JPEG,
    animated,
    chunk,
    content,
    difference,
    encoded,
    exif_block,
    jpeg,
    one,
    png,
    png_of_size,
    quarters,
    shown,
)
from tests.core.media.profiles import SWAPPED

if TYPE_CHECKING:
    from minicpm_core.parts import Detail, ImagePart

DETAILS: list[Detail] = ["auto", "low", "high", "original"]
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {},
    "PNG": {},
    "GIF": {},
    "WEBP": {},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "AVIF": {},
}
MIB = 1024 * 1024


def load(data: bytes, detail: Detail = "auto", **options: Any) -> tuple[ImagePart, ...]:
    return load_image(image_from_bytes(data), accept=options.pop("accept", PNG_AND_JPEG), detail=detail, **options)


def must_be_decoded(data: bytes) -> bytes:
    """The same PNG, asking to be turned."""
    return data[:33] + chunk(b"eXIf", exif_block(6).removeprefix(b"Exif\0\0")) + data[33:]


def gif(width: int, height: int, frames: int = 1) -> bytes:
    """A GIF whose screen is as large as it says, and whose frames have one pixel."""
    screen = struct.pack("<6sHHBBB", b"GIF89a", width, height, 0x80, 0, 0) + bytes(6)
    frame = struct.pack("<BHHHHB", 0x2C, 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return screen + frame * frames + b";"


def tiff(*, width: int = 4, height: int = 4, strip: int = 0, following: int = 0, count: int = 1) -> bytes:
    """A gray TIFF without its pixels, with one strip at an offset of one's choice."""
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, count, strip), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, count, width * height % 2**32),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + struct.pack("<I", following)


class TestBombs:
    @pytest.mark.parametrize("detail", DETAILS)
    @pytest.mark.parametrize(
        "data",
        [
            png_of_size(100_000, 100_000),
            gif(65_535, 65_535),
            tiff(width=2**31, height=2**31),
            tiff(width=100_000, height=100_000),
            b"BM" + struct.pack("<IHHIIiiHHI", 100, 0, 0, 54, 40, 99_999, 99_999, 1, 8, 1) + bytes(20),
        ],
        ids=["png", "gif", "tiff", "tiff-small", "bmp"],
    )
    def test_a_size_beyond_all_bounds_is_refused_whatever_is_to_be_sent(self, data: bytes, detail: Detail) -> None:
        tracemalloc.start()
        try:
            for accept in (EVERYTHING, PNG_AND_JPEG):
                with pytest.raises(InvalidMediaError):
                    load(data, detail, accept=accept)
            assert tracemalloc.get_traced_memory()[1] < 8 * MIB
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
    def test_what_a_png_packs_beside_its_pixels_is_not_unpacked_without_bound(self, kind: bytes) -> None:
        """Text is passed on packed, as it came; a profile is looked at, so that one that never ends is refused."""
        head = b"Comment\0\1\0\0\0" if kind == b"iTXt" else b"Comment\0\0"
        data = png()[:33] + chunk(kind, head + zlib.compress(bytes(120 * MIB))) + png()[33:]
        tracemalloc.start()
        try:
            if kind == b"iCCP":
                with pytest.raises(InvalidMediaError, match="colour profile"):
                    load(data)
            else:
                assert content(one(load(data))) == data
            with pytest.raises(InvalidMediaError):
                load(must_be_decoded(data))
            assert tracemalloc.get_traced_memory()[1] < 8 * MIB
        finally:
            tracemalloc.stop()

    def test_pixels_that_unpack_to_more_than_the_size_says_are_cut_off(self) -> None:
        pixels = zlib.compress(bytes(100 * MIB))
        data = png_of_size(64, 32)
        data = data[:33] + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
        tracemalloc.start()
        try:
            part = one(load(must_be_decoded(data)))
            assert (part.width, part.height) == (32, 64)
            assert tracemalloc.get_traced_memory()[1] < 8 * MIB
        finally:
            tracemalloc.stop()

    def test_an_exif_block_that_promises_65535_entries_is_a_short_walk(self) -> None:
        block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 65_535) + bytes(60_000)
        data = jpeg(exif=block)
        assert content(one(load(data))) == data

    def test_a_gif_of_a_hundred_thousand_frames_takes_no_longer_than_one_of_two_thousand(self) -> None:
        parts = load(gif(1, 1, 100_000), frames="all")
        assert len(parts) == MOST_FRAMES

    def test_a_screen_that_is_within_the_limit_is_decoded_a_bounded_number_of_times(self) -> None:
        parts = load(gif(1000, 1000, 500), frames="all", limits=MediaLimits(max_pixels=1_000_000), detail="low")
        assert len(parts) == 4

    def test_a_profile_that_promises_endless_tags(self) -> None:
        endless = SWAPPED[:128] + struct.pack(">I", 2**32 - 1) + SWAPPED[132:]
        part = one(load(encoded(quarters(), "PNG", icc_profile=endless), "low"))
        assert shown(part).size == (64, 32)


class TestTiff:
    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(tiff(strip=2**32 - 1), id="pixels-outside"),
            pytest.param(tiff(strip=0, count=2**31), id="two-thousand-million-strips"),
            pytest.param(tiff(width=0), id="no-width"),
            pytest.param(b"II*\0\xff\xff\xff\xff", id="table-outside"),
            pytest.param(b"II*\0\x08\0\0\0\xff\xff", id="endless-table"),
            pytest.param(b"MM\0+\0\x08\0\0" + b"\xff" * 40, id="bigtiff"),
            pytest.param(b"II*\0\0\0\0\0", id="no-table"),
        ],
    )
    @pytest.mark.parametrize("frames", ["first", "all"])
    def test_offsets_and_counts_that_cannot_be(self, data: bytes, frames: str) -> None:
        with pytest.raises(InvalidMediaError):
            load(data, frames=frames)

    def test_a_table_that_follows_itself(self) -> None:
        sound = tiff(strip=8 + 2 + 9 * 12 + 4, following=8) + bytes(16)
        assert len(load(sound, frames="all")) == 1


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("run.sh", "echo")
    return buffer.getvalue()


class TestPolyglots:
    @pytest.mark.parametrize(
        ("data", "media_type"),
        [
            pytest.param(jpeg() + archive(), "image/jpeg", id="jpeg-zip"),
            pytest.param(png() + archive(), "image/png", id="png-zip"),
            pytest.param(png() + b"<script>alert(1)</script>", "image/png", id="png-html"),
            pytest.param(png() + jpeg(), "image/png", id="png-jpeg"),
            pytest.param(jpeg(comment=b"%PDF-1.7\n1 0 obj"), "image/jpeg", id="jpeg-pdf"),
            pytest.param(encoded(quarters(), "GIF") + b"*/=1;alert(1)", "image/gif", id="gif-js"),
        ],
    )
    def test_the_magic_bytes_alone_say_what_it_is(self, data: bytes, media_type: str) -> None:
        part = one(load(data, accept=EVERYTHING))
        assert (part.media_type, part.width, part.height) == (media_type, 64, 32)

    @pytest.mark.parametrize("data", [jpeg() + archive(), png() + archive(), encoded(quarters(), "GIF") + archive()])
    def test_what_is_encoded_again_loses_its_passenger(self, data: bytes) -> None:
        part = one(load(data, accept=frozenset({"image/png"} if data[:3] != b"\x89PN" else {"image/jpeg"})))
        assert b"run.sh" not in content(part)

    @pytest.mark.parametrize("head", [b"%PDF-1.7\n", b"PK\3\4", b"<html>", b"%!PS-Adobe-3.0\n", b"\0"])
    def test_a_picture_behind_something_else_is_no_picture(self, head: bytes) -> None:
        with pytest.raises(UnsupportedContentError, match="not a picture that can be sent"):
            load(head + jpeg())

    def test_a_gif_whose_size_is_the_beginning_of_a_script(self) -> None:
        """`GIF89a/*` is a comment in JavaScript; as a picture it is 10799 pixels wide."""
        data = bytearray(encoded(quarters(), "GIF"))
        data[6:10] = b"/*=1"
        with pytest.raises(InvalidMediaError, match="too large: 10799 x 12605"):
            load(bytes(data), accept=EVERYTHING)


def written(kind: str) -> bytes:
    if kind in {"WEBP", "AVIF"} and not features.check(kind.lower()):
        pytest.skip("this Pillow cannot write it")
    return encoded(Image.effect_noise((64, 64), 80).convert("RGB"), kind, **FORMATS[kind])


class TestDamage:
    @pytest.mark.parametrize("detail", ["low", "original"])
    @pytest.mark.parametrize("kind", FORMATS)
    def test_a_file_that_is_cut_off_anywhere_is_refused(self, kind: str, detail: Detail) -> None:
        data = written(kind)
        assert one(load(data, detail)).width == 64
        for sixteenth in range(16):
            for frames in ("first", "all"):
                with pytest.raises(InvalidMediaError):
                    load(data[: len(data) * sixteenth // 16], detail, frames=frames, accept=EVERYTHING)

    @pytest.mark.parametrize("kind", FORMATS)
    def test_a_file_that_loses_its_beginning_is_refused(self, kind: str) -> None:
        data = written(kind)
        for at in (1, 2, 7, 20):
            with pytest.raises(UnsupportedContentError):
                load(data[at:], accept=EVERYTHING)

    def test_a_wrong_checksum_of_the_size_is_refused_and_of_the_pixels_forgiven(self) -> None:
        """As every program does it: the pixels have a checksum of their own inside."""
        whole = must_be_decoded(png())
        for kind in (b"IHDR", b"IDAT"):
            data = bytearray(whole)
            start = data.index(kind)
            (length,) = struct.unpack_from(">I", data, start - 4)
            data[start + 4 + length] ^= 0xFF
            if kind == b"IHDR":
                with pytest.raises(InvalidMediaError, match="first chunk is damaged"):
                    load(bytes(data))
            else:
                assert difference(shown(one(load(bytes(data)))), shown(one(load(whole)))) == 0

    def test_pixels_that_were_changed_are_refused_where_they_are_decoded(self) -> None:
        data = bytearray(must_be_decoded(png()))
        data[data.index(b"IDAT") + 20] ^= 0xFF
        with pytest.raises(InvalidMediaError, match="cannot be decoded"):
            load(bytes(data))

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
    def test_a_picture_without_pixels_is_refused(self, kind: str) -> None:
        nothing = {
            "JPEG": jpeg().replace(struct.pack(">HH", 32, 64), bytes(4), 1),
            "PNG": png_of_size(0, 0),
            "GIF": gif(0, 0).replace(struct.pack("<HH", 1, 1), bytes(4)),
            "WEBP": b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\0\0\0\0",
            "BMP": encoded(quarters(), "BMP")[:18] + bytes(8) + encoded(quarters(), "BMP")[26:],
        }
        for detail in DETAILS:
            with pytest.raises(InvalidMediaError):
                load(nothing[kind], detail, accept=EVERYTHING)


WHOLE = [
    jpeg((96, 64), exif=exif_block(6), icc_profile=SWAPPED),
    encoded(Image.new("CMYK", (48, 32), (0, 255, 255, 0)), "JPEG"),
    encoded(quarters(), "PNG", exif=exif_block(3), icc_profile=SWAPPED),
    encoded(quarters().convert("P"), "PNG", transparency=0),
    animated("PNG"),
    animated("GIF"),
    animated("WEBP"),
    encoded(quarters().convert("RGBA"), "WEBP", lossless=True, icc_profile=SWAPPED),
    encoded(quarters(), "BMP"),
    encoded(quarters(), "TIFF", save_all=True, append_images=[quarters((9, 7))], compression="tiff_deflate"),
]


@given(
    data=st.sampled_from(WHOLE),
    changes=st.lists(st.tuples(st.integers(0, 8000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 40),
    detail=st.sampled_from(DETAILS),
    frames=st.sampled_from(["first", "all"]),
    max_slices=st.sampled_from([1, 9]),
)
@settings(max_examples=300)
def test_whatever_is_changed_there_is_a_sound_picture_or_a_clear_error(
    data: bytes, changes: list[tuple[int, int]], cut: int, detail: Detail, frames: str, max_slices: int
) -> None:
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    given_ = bytes(damaged[: len(damaged) - cut])
    with contextlib.suppress(UnsupportedContentError):
        parts = load(given_, detail, frames=frames, max_slices=max_slices, limits=MediaLimits(max_pixels=1_000_000))
        assert 1 <= len(parts) <= MOST_FRAMES * 40
        for part in parts:
            if content(part) != given_:  # what was encoded here can be decoded anywhere
                assert shown(part).size == (part.width, part.height)
