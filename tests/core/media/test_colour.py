"""Whatever its mode, profile or transparency, a picture arrives in the colours that a person would see."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import icc, image_from_base64, image_from_bytes, image_from_pil, load_image
from tests.core.media import profiles
from tests.core.media.pictures import (
    EVERYTHING,
    PNG_AND_JPEG,
    chunk,
    colour,
    content,
    encoded,
    exif_block,
    one,
    photo,
    png,
    quarters,
    shown,
)
from tests.core.media.profiles import DISPLAY_P3, GARBAGE, LINEAR_GRAY, SRGB, SWAPPED, display, gamma, parametric

if TYPE_CHECKING:
    from minicpm_core.parts import Detail, ImagePart

needs_lcms = pytest.mark.skipif(not features.check("littlecms2"), reason="this Pillow has no colour management")
RED = (220, 30, 30)


def load(data: bytes, detail: Detail = "auto", accept: frozenset[str] = PNG_AND_JPEG) -> ImagePart:
    return one(load_image(image_from_bytes(data), accept=accept, detail=detail))


def red(kind: str, *, size: tuple[int, int] = (64, 32), **options: Any) -> bytes:
    return encoded(Image.new("RGB", size, RED), kind, **options)


@needs_lcms
class TestProfiles:
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
    def test_a_profile_that_is_far_from_srgb_is_applied_and_left_out(self, kind: str) -> None:
        options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
        part = load(red(kind, icc_profile=SWAPPED, **options), accept=EVERYTHING)
        seen = shown(part)
        assert colour(seen) == pytest.approx((24, 221, 24), abs=4)
        assert "icc_profile" not in seen.info

    def test_display_p3_as_phones_use_it(self) -> None:
        part = load(encoded(Image.new("RGB", (32, 32), (200, 100, 50)), "PNG", icc_profile=DISPLAY_P3))
        assert colour(shown(part)) == pytest.approx((216, 93, 24), abs=2)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG"])
    @pytest.mark.parametrize("given", [SRGB, GARBAGE[:100], b"no profile at all", LINEAR_GRAY], ids=len)
    def test_a_profile_that_changes_nothing_leaves_the_file_as_it_is(self, kind: str, given: bytes) -> None:
        """That is, sRGB itself and what every program ignores: broken ones, and those for other colours."""
        data = red(kind, icc_profile=given)
        assert content(load(data)) == data

    def test_the_original_is_sent_with_its_profile(self) -> None:
        data = red("JPEG", icc_profile=SWAPPED)
        assert content(load(data, "original")) == data

    @pytest.mark.parametrize("given", [GARBAGE, SWAPPED[:-40], SWAPPED[:140]], ids=len)
    def test_a_broken_profile_is_ignored_where_the_picture_is_decoded(self, given: bytes) -> None:
        part = load(red("PNG", icc_profile=given), "low")
        assert colour(shown(part)) == pytest.approx(RED, abs=2)

    def test_it_is_applied_when_the_picture_is_turned_or_reduced_or_given_as_a_pil_image(self) -> None:
        image = Image.open(io.BytesIO(red("PNG", icc_profile=SWAPPED)))
        parts = [
            load(red("JPEG", icc_profile=SWAPPED, exif=exif_block(6)), "original"),
            load(red("JPEG", size=(3000, 2000), icc_profile=SWAPPED)),
            one(load_image(image_from_pil(image), accept=PNG_AND_JPEG)),
        ]
        for part in parts:
            assert colour(shown(part)) == pytest.approx((24, 221, 24), abs=4)

    def test_it_is_found_in_long_base64_text_without_decoding_all_of_it(self) -> None:
        data = encoded(photo((900, 700)), "JPEG", quality=95, icc_profile=SWAPPED)
        text = base64.b64encode(data)
        assert len(text) > 128 * 1024
        part = one(load_image(image_from_base64(text), accept=PNG_AND_JPEG, detail="auto"))
        assert "icc_profile" not in shown(part).info

    def test_a_gray_profile(self) -> None:
        """Linear light: 55 of 255 is as bright as 128 in sRGB."""
        image = Image.new("L", (32, 32), 55)
        part = load(encoded(image, "TIFF", icc_profile=LINEAR_GRAY))
        assert (shown(part).mode, colour(shown(part))) == ("L", (128, 128, 128))

    def test_a_palette_is_converted_too(self) -> None:
        image = Image.new("P", (32, 32), 1)
        image.putpalette([0, 0, 0, *RED])
        part = load(encoded(image, "PNG", icc_profile=SWAPPED))
        assert colour(shown(part)) == pytest.approx((24, 221, 24), abs=2)

    def test_transparent_parts_stay_white(self) -> None:
        image = Image.new("RGBA", (32, 32), (*RED, 255))
        image.paste((0, 0, 0, 0), (16, 0, 32, 32))
        seen = shown(load(encoded(image, "PNG", icc_profile=SWAPPED)))
        assert colour(seen) == pytest.approx((24, 221, 24), abs=2)
        assert colour(seen, (24, 5)) == (255, 255, 255)

    def test_without_colour_management_the_numbers_are_taken_as_they_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def lacks(name: str) -> bool:
            return name != "littlecms2"

        monkeypatch.setattr(features, "check", lacks)
        assert colour(shown(load(red("PNG", icc_profile=SWAPPED)))) == RED

    def test_a_profile_beyond_the_bound_is_ignored(self) -> None:
        image = Image.new("RGB", (8, 8), RED)
        image.info["icc_profile"] = SWAPPED + bytes(4 * 1024 * 1024)
        assert colour(shown(one(load_image(image_from_pil(image), accept=PNG_AND_JPEG))), (1, 1)) == RED


class TestWhatDiffers:
    @pytest.mark.parametrize(
        ("curve", "differs"),
        [
            (gamma(2.2), False),
            (gamma(1.8), True),
            (gamma(1.0), True),
            (b"curv\0\0\0\0" + struct.pack(">I", 0), True),
            (b"curv\0\0\0\0" + struct.pack(">I3H", 3, 0, 14025, 65535), False),
            (b"curv\0\0\0\0" + struct.pack(">I3H", 3, 0, 32768, 65535), True),
            (parametric(0, 2.2), False),
            (parametric(3, 2.4, 0.948, 0.052, 0.077, 0.04), False),
            (parametric(0, 1.0), True),
        ],
    )  # fmt: skip
    def test_the_tone_curve_counts(self, curve: bytes, differs: bool) -> None:
        assert icc.differs(display(profiles.RED, profiles.GREEN, profiles.BLUE, curve)) is differs

    def test_a_profile_without_primaries_consists_of_tables_and_differs(self) -> None:
        assert icc.differs(profiles.profile(b"RGB ", {b"A2B0": bytes(40)}))

    @given(data=st.binary(max_size=300), at=st.integers(0, 344))
    def test_no_profile_does_harm(self, data: bytes, at: int) -> None:
        for tried in (data, SWAPPED[:at] + data, SWAPPED[:132] + data):
            assert icc.differs(tried) in {True, False}
            assert isinstance(icc.colour_space(tried), str)


class TestCmyk:
    @pytest.mark.parametrize(("detail", "changed"), [("auto", True), ("original", False)])
    def test_a_cmyk_jpeg_becomes_rgb(self, detail: Detail, changed: bool) -> None:
        data = encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=95)
        part = load(data, detail)
        assert (content(part) != data) is changed
        if changed:
            assert shown(part).mode == "RGB"
            assert colour(shown(part)) == pytest.approx((255, 0, 0), abs=6)

    def test_ycck_as_adobe_writes_it(self) -> None:
        """Stored inverted and as luminance and colour differences, as the mark in its APP14 segment says."""
        stored = Image.new("CMYK", (32, 32), (76, 84, 254, 0))  # red: 179, 171, 1, 255 before Pillow inverts it
        data = bytearray(encoded(stored, "JPEG", quality=98))
        data[data.index(b"Adobe") + 11] = 2
        assert colour(shown(load(bytes(data)))) == pytest.approx((255, 0, 0), abs=8)

    @needs_lcms
    def test_an_rgb_profile_in_a_cmyk_picture_is_ignored(self) -> None:
        data = encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG", quality=95, icc_profile=SWAPPED)
        assert colour(shown(load(data))) == pytest.approx((255, 0, 0), abs=6)

    def test_a_large_cmyk_picture_is_reduced_in_its_colours(self) -> None:
        data = encoded(Image.new("CMYK", (2000, 1500), (0, 255, 255, 0)), "JPEG", quality=90)
        part = load(data)
        assert part.width < 2000
        assert colour(shown(part)) == pytest.approx((255, 0, 0), abs=6)


def half_clear() -> Image.Image:
    image = Image.new("RGBA", (64, 32), (0, 0, 0, 0))
    image.paste((*RED, 255), (0, 0, 32, 32))
    return image


CLEAR: dict[str, bytes] = {
    "png": encoded(half_clear(), "PNG"),
    "png-gray": encoded(half_clear().convert("LA"), "PNG"),
    "png-palette": encoded(half_clear().convert("P"), "PNG", transparency=half_clear().convert("P").getpixel((40, 5))),
    "png-key": encoded(half_clear().convert("RGB"), "PNG", transparency=(0, 0, 0)),
    "gif": encoded(half_clear(), "GIF"),
    "webp": encoded(half_clear(), "WEBP"),
    "webp-lossless": encoded(half_clear(), "WEBP", lossless=True),
}


class TestTransparency:
    @pytest.mark.parametrize("data", CLEAR.values(), ids=CLEAR)
    def test_what_shows_through_is_white_in_every_format(self, data: bytes) -> None:
        seen = shown(load(data, accept=EVERYTHING))
        assert not seen.has_transparency_data
        assert colour(seen, (50, 16)) == (255, 255, 255)
        assert max(colour(seen, (10, 16))[1:]) < 100

    @pytest.mark.parametrize("data", CLEAR.values(), ids=CLEAR)
    def test_the_original_is_sent_as_it_is(self, data: bytes) -> None:
        assert content(load(data, "original", EVERYTHING)) == data

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_alpha_that_hides_nothing_leaves_the_file_as_it_is(self, kind: str, mode: str) -> None:
        """As in the screenshots of many systems."""
        data = encoded(quarters().convert(mode), kind, **({"lossless": True} if kind == "WEBP" else {}))
        assert content(load(data, accept=EVERYTHING)) == data

    def test_alpha_that_was_only_announced_leaves_the_file_as_it_is(self) -> None:
        data = bytearray(encoded(quarters(), "WEBP", exif=exif_block(1)))
        data[20] |= 0x10
        assert content(load(bytes(data), accept=EVERYTHING)) == data

    def test_a_clear_edge_does_not_darken_when_it_is_reduced(self) -> None:
        """What is clear has a colour too, black here, which must not be mixed in."""
        image = Image.new("RGBA", (2000, 2000), (0, 0, 0, 0))
        image.paste((255, 255, 255, 255), (0, 0, 1001, 2000))
        lowest = shown(load(encoded(image, "PNG"))).convert("L").getextrema()
        assert lowest == (255, 255)


def test_sixteen_bits_of_colour() -> None:
    row = b"\0" + struct.pack(">3H", 0xFFFF, 0x8000, 0x0000) * 32
    head = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * 32)) + chunk(b"IEND", b"")
    assert content(load(data)) == data
    assert colour(shown(load(data, "auto", frozenset({"image/jpeg"})))) == pytest.approx((255, 128, 0), abs=4)


def test_a_profile_that_unpacks_without_end_is_refused() -> None:
    bomb = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(80 * 1024 * 1024)))
    with pytest.raises(InvalidMediaError, match="unpacks to more than 1 MiB"):
        load(png()[:33] + bomb + png()[33:])
