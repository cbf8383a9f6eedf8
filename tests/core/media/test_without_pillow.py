"""Without Pillow, what needs no decoding passes, and what does says what to install."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image

import minicpm_core.media
from minicpm_core.errors import ConfigurationError, InvalidMediaError, UnsupportedContentError
from minicpm_core.media import image_from_bytes, image_from_pil, image_from_url, load_image
from minicpm_core.parts import ImageSource
from tests.core.media.pictures import (
    EVERYTHING,
    PNG_AND_JPEG,
    animated,
    content,
    data_url,
    encoded,
    exif_block,
    jpeg,
    one,
    png,
    quarters,
)
from tests.core.media.profiles import DISPLAY_P3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minicpm_core.parts import Detail

INSTALL = r'pip install "minicpm-integrations\[media\]"'
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50)

WEBP = encoded(quarters(), "WEBP")
GOOD = [png(), jpeg(), jpeg(exif=exif_block(1)), encoded(quarters(), "GIF"), WEBP]
APNG = animated("PNG")
BETTER_DECODED = [
    jpeg((2400, 1800)),
    encoded(Image.new("RGBA", (600, 400), (0, 0, 0, 0)), "PNG"),
    encoded(quarters((600, 400)), "JPEG", icc_profile=DISPLAY_P3),
    encoded(Image.new("CMYK", (600, 400)), "JPEG"),
    encoded(Image.new("RGB", (6000, 5)), "PNG"),
]
TO_DECODE = [jpeg(exif=exif_block(6)), encoded(quarters(), "TIFF"), animated("GIF")]


@pytest.fixture(autouse=True)
def _no_pillow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where Pillow is not installed: importing it fails."""
    for name in [name for name in sys.modules if name == "PIL" or name.startswith("PIL.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "minicpm_core.media.encode", raising=False)
    monkeypatch.delattr(minicpm_core.media, "encode", raising=False)
    yield
    monkeypatch.undo()


@pytest.mark.parametrize("data", GOOD, ids=["png", "jpeg", "jpeg-exif", "gif", "webp"])
def test_a_picture_that_is_fine_passes(data: bytes) -> None:
    (part,) = load_image(image_from_bytes(data), accept=EVERYTHING)
    assert (content(part), part.width, part.height) == (data, 64, 32)
    assert one(load_image(image_from_url(data_url(data)), accept=EVERYTHING)) == part


@pytest.mark.parametrize("data", TO_DECODE, ids=["turned", "tiff", "animated"])
def test_a_picture_that_must_be_decoded_says_what_to_install(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match=INSTALL):
        load_image(image_from_bytes(data), accept=EVERYTHING)


def test_a_type_that_is_not_taken_says_what_to_install() -> None:
    with pytest.raises(ConfigurationError, match=INSTALL):
        load_image(image_from_bytes(WEBP), accept=PNG_AND_JPEG)


@pytest.mark.parametrize("data", BETTER_DECODED, ids=["large", "transparent", "profile", "cmyk", "strip"])
@pytest.mark.parametrize("detail", ["auto", "low", "high"])
def test_a_picture_that_would_only_be_improved_is_sent_as_it_is(data: bytes, detail: Detail) -> None:
    for source in (image_from_bytes(data), image_from_url(data_url(data))):
        (part,) = load_image(source, accept=EVERYTHING, detail=detail)
        assert content(part) == data


@pytest.mark.parametrize("data", TO_DECODE, ids=["turned", "tiff", "animated"])
def test_what_must_be_decoded_must_be_at_any_detail(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match=INSTALL):
        load_image(image_from_bytes(data), accept=EVERYTHING, detail="low")


def test_all_frames_of_an_animated_png_cannot_be_had() -> None:
    (part,) = load_image(image_from_bytes(APNG), accept=EVERYTHING)
    assert content(part) == APNG
    with pytest.raises(ConfigurationError, match=INSTALL):
        load_image(image_from_bytes(APNG), accept=EVERYTHING, frames="all")


def test_a_pillow_image_cannot_be_given() -> None:
    with pytest.raises(ConfigurationError, match=INSTALL):
        image_from_pil(object())  # type: ignore[arg-type]  # there is no Pillow to make one with
    with pytest.raises(ConfigurationError, match=INSTALL):
        load_image(ImageSource("pil", object()), accept=PNG_AND_JPEG)


def test_what_pillow_would_not_help_with_is_not_blamed_on_it() -> None:
    with pytest.raises(UnsupportedContentError, match="HEIC"):
        load_image(image_from_bytes(HEIC), accept=EVERYTHING)
    with pytest.raises(InvalidMediaError, match="HTML"):
        load_image(image_from_bytes(b"<html>"), accept=EVERYTHING)


def test_importing_the_package_and_passing_a_picture_on_does_not_import_pillow() -> None:
    """In an interpreter of its own, since this one has it already."""
    code = (
        "import sys, minicpm_core.media as m\n"
        f"(part,) = m.load_image(m.image_from_bytes({GOOD[0]!r}), accept=frozenset({{'image/png'}}))\n"
        "assert part.width == 64\n"
        "sys.exit([name for name in sys.modules if name.split('.')[0] == 'PIL'] or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
