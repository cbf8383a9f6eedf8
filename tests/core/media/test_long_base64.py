"""A long Base64 text is judged by its two ends where they tell enough, with the very result of reading it all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from minicpm_core.errors import InvalidMediaError, MiniCPMError
from minicpm_core.media import MediaLimits, image_from_bytes, image_from_url, load_image
from tests.core.media.pictures import PNG_AND_JPEG, chunk, data_url, encoded, exif_block, one

if TYPE_CHECKING:
    from minicpm_core.parts import ImagePart, ImageSource

NOISE = Image.frombytes("RGB", (400, 300), os.urandom(400 * 300 * 3))
JPEG = encoded(NOISE, "JPEG", quality=95)
PNG = encoded(NOISE, "PNG")
LONG_PROFILE = encoded(NOISE, "JPEG", quality=95, icc_profile=b"p" * 150_000)
TURNED = encoded(NOISE, "JPEG", quality=95, exif=exif_block(6))
LATE_EXIF = PNG[:-12] + chunk(b"eXIf", exif_block(6).removeprefix(b"Exif\0\0")) + PNG[-12:]


def outcome(source: ImageSource, accept: frozenset[str] = PNG_AND_JPEG) -> ImagePart | type[MiniCPMError]:
    try:
        return one(load_image(source, accept=accept))
    except MiniCPMError as error:
        return type(error)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(JPEG, id="jpeg"),
        pytest.param(PNG, id="png"),
        pytest.param(LONG_PROFILE, id="long-header"),
        pytest.param(TURNED, id="turned"),
        pytest.param(LATE_EXIF, id="late-exif"),
        pytest.param(encoded(NOISE, "BMP"), id="bmp"),
        pytest.param(JPEG + bytes(5000), id="jpeg-trailer"),
        pytest.param(JPEG + b"\0" * 50, id="jpeg-short-trailer"),
        pytest.param(PNG + bytes(5000), id="png-trailer"),
        pytest.param(JPEG[:-2], id="jpeg-no-end"),
        pytest.param(JPEG[:120_000], id="jpeg-cut"),
        pytest.param(PNG[:-12], id="png-no-end"),
        pytest.param(PNG[:200_000], id="png-cut"),
        pytest.param(PNG[:16] + b"\xff" + PNG[17:], id="png-broken"),
        pytest.param(b"<html>" + bytes(200_000), id="html"),
    ],
)
@pytest.mark.parametrize("accept", [PNG_AND_JPEG, frozenset({"image/png"})], ids=["both", "png"])
def test_text_and_bytes_come_to_the_same(data: bytes, accept: frozenset[str]) -> None:
    assert len(data) > 100_000
    assert outcome(image_from_url(data_url(data)), accept) == outcome(image_from_bytes(data), accept)


def test_the_outcomes_are_those_that_are_wanted() -> None:
    for data in (JPEG, PNG):
        (part,) = load_image(image_from_url(data_url(data)), accept=PNG_AND_JPEG)
        assert data_url(data).endswith(part.base64.decode())
        assert (part.width, part.height) == (400, 300)
    for data in (TURNED, LATE_EXIF):
        assert one(load_image(image_from_url(data_url(data)), accept=PNG_AND_JPEG)).width == 300
    assert outcome(image_from_url(data_url(PNG[:200_000]))) is InvalidMediaError


@pytest.mark.parametrize("at", [30, 100_000, -20])
def test_a_foreign_character_anywhere_is_found(at: int) -> None:
    text = data_url(PNG)
    with pytest.raises(InvalidMediaError, match="other characters"):
        load_image(image_from_url(text[:at] + "*" + text[at + 1 :]), accept=PNG_AND_JPEG)


def test_the_limits_hold() -> None:
    source = image_from_url(data_url(PNG))
    for limits in (MediaLimits(max_pixels=400 * 300 - 1), MediaLimits(max_bytes=len(PNG) - 1)):
        with pytest.raises(InvalidMediaError, match="too large"):
            load_image(source, accept=PNG_AND_JPEG, limits=limits)
    exact = MediaLimits(max_pixels=400 * 300, max_bytes=len(PNG))
    assert one(load_image(source, accept=PNG_AND_JPEG, limits=exact)).width == 400


def test_a_text_far_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(InvalidMediaError, match="too large: it has"):
        load_image(image_from_url(data_url(PNG)), accept=PNG_AND_JPEG, limits=MediaLimits(max_bytes=1000))
