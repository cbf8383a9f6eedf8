"""A picture stands upright for the model, whatever EXIF says and wherever it says it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from minicpm_core.media import image_from_bytes, image_from_pil, load_image
from minicpm_core.media.exif import orientation
from tests.core.media.pictures import (
    EVERYTHING,
    PNG_AND_JPEG,
    chunk,
    content,
    difference,
    encoded,
    exif_block,
    jpeg,
    one,
    png,
    quarters,
    shown,
)

if TYPE_CHECKING:
    from minicpm_core.parts import ImageSource

TURNS = range(2, 9)


def as_seen(data: bytes) -> Image.Image:
    """The picture as Pillow turns it."""
    with Image.open(io.BytesIO(data)) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def _png_with_late_exif(block: bytes) -> bytes:
    plain = png()
    end = plain.index(b"IEND") - 4
    return plain[:end] + chunk(b"eXIf", block.removeprefix(b"Exif\0\0")) + plain[end:]


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_turned_picture_is_sent_upright(kind: str, turn: int) -> None:
    if kind in {"WEBP", "AVIF"} and not features.check(kind.lower()):
        pytest.skip("this Pillow cannot write it")
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(quarters(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    (part,) = load_image(image_from_bytes(data), accept=EVERYTHING)
    assert (part.width, part.height) == ((32, 64) if turn >= 5 else (64, 32))
    assert shown(part).size == (part.width, part.height)
    assert difference(shown(part), as_seen(data)) <= 12
    assert difference(shown(part), quarters((32, 64) if turn >= 5 else (64, 32))) > 100, "the turn must show"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", TURNS)
def test_both_byte_orders_of_exif_are_read(turn: int, order: str) -> None:
    data = jpeg(exif=exif_block(turn, order))
    assert difference(shown(one(load_image(image_from_bytes(data), accept=PNG_AND_JPEG))), as_seen(data)) <= 12


def test_exif_after_the_pixels_of_a_png_counts() -> None:
    (part,) = load_image(image_from_bytes(_png_with_late_exif(exif_block(6))), accept=PNG_AND_JPEG)
    assert (part.width, part.height) == (32, 64)


def test_a_jpeg_stays_a_jpeg_when_it_is_turned() -> None:
    (part,) = load_image(image_from_bytes(jpeg(exif=exif_block(3))), accept=PNG_AND_JPEG)
    assert part.media_type == "image/jpeg"


def test_nothing_turns_twice() -> None:
    (once,) = load_image(image_from_bytes(jpeg(exif=exif_block(6))), accept=PNG_AND_JPEG)
    (again,) = load_image(image_from_bytes(content(once)), accept=PNG_AND_JPEG)
    assert again == once


@pytest.mark.parametrize("turn", [0, 1, 9, 65535])
def test_upright_and_senseless_orientations_leave_the_file_as_it_is(turn: int) -> None:
    data = jpeg(exif=exif_block(turn))
    assert content(one(load_image(image_from_bytes(data), accept=PNG_AND_JPEG))) == data


def _pil(turn: int, *, loaded: bool) -> ImageSource:
    image = Image.open(io.BytesIO(encoded(quarters(), "PNG", exif=exif_block(turn))))
    if loaded:
        image.load()
    return image_from_pil(image)


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("turn", TURNS)
def test_a_pil_image_that_carries_exif_is_sent_upright(turn: int, loaded: bool) -> None:
    (part,) = load_image(_pil(turn, loaded=loaded), accept=PNG_AND_JPEG)
    assert difference(shown(part), as_seen(encoded(quarters(), "PNG", exif=exif_block(turn)))) == 0


def test_a_pil_image_that_was_turned_already_is_not_turned_again() -> None:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg(exif=exif_block(6)))))
    (part,) = load_image(image_from_pil(image), accept=PNG_AND_JPEG)
    assert (part.width, part.height) == (32, 64)


def test_a_pil_image_with_broken_exif_is_sent_as_it_is() -> None:
    image = quarters()
    image.info["exif"] = b"no such thing"
    assert difference(shown(one(load_image(image_from_pil(image), accept=PNG_AND_JPEG))), quarters()) == 0


GOOD = exif_block(6)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"Exif\0\0", id="mark-alone"),
        pytest.param(b"Exif\0\0II*\0", id="no-table-offset"),
        pytest.param(GOOD.replace(b"\x08\0\0\0", b"\xff\xff\xff\xff", 1), id="table-outside"),
        pytest.param(GOOD[:20], id="entry-cut"),
        pytest.param(GOOD.replace(b"II*\0", b"IIII", 1), id="wrong-magic"),
        pytest.param(GOOD.replace(b"\x12\x01\x03\0", b"\x12\x01\x02\0", 1), id="a-text-instead-of-a-number"),
        pytest.param(GOOD.replace(b"\x12\x01\x03\0", b"\x13\x01\x03\0", 1), id="another-tag"),
    ],
)
def test_broken_exif_is_upright(block: bytes) -> None:
    assert orientation(GOOD) == 6
    assert orientation(block) == 1


@given(block=st.binary(max_size=200), at=st.integers(0, 40))
def test_no_exif_block_can_do_harm(block: bytes, at: int) -> None:
    assert orientation(block) in range(1, 9)
    assert orientation(GOOD[:at] + block) in range(1, 9)
