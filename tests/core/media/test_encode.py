"""Pictures that a server would not take, or would misread, are encoded again; no others are."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, PngImagePlugin, features

from minicpm_core.errors import InvalidMediaError, UnsupportedContentError
from minicpm_core.media import MediaLimits, image_from_bytes, image_from_pil, load_image
from tests.core.media.pictures import (
    EVERYTHING,
    PNG_AND_JPEG,
    animated,
    chunk,
    colour,
    content,
    difference,
    encoded,
    exif_block,
    jpeg,
    one,
    photo,
    png,
    quarters,
    screenshot,
    shown,
)

if TYPE_CHECKING:
    from minicpm_core.parts import ImagePart

HALF_CLEAR = (10, 200, 30, 128)
LARGE = (600, 500)


def load(data: bytes, accept: frozenset[str] = PNG_AND_JPEG) -> ImagePart:
    return one(load_image(image_from_bytes(data), accept=accept))


def load_pil(image: Image.Image, accept: frozenset[str] = PNG_AND_JPEG) -> ImagePart:
    return one(load_image(image_from_pil(image), accept=accept))


FORMATS: dict[str, dict[str, Any]] = {"GIF": {}, "BMP": {}, "WEBP": {"lossless": True}, "TIFF": {}}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_type_that_is_not_taken_is_encoded_again(kind: str) -> None:
    part = load(encoded(quarters(), kind, **FORMATS[kind]))
    assert (part.media_type, part.width, part.height) == ("image/png", 64, 32)
    assert difference(shown(part), quarters()) == 0


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP"])
def test_the_same_type_is_passed_on_where_it_is_taken(kind: str) -> None:
    data = encoded(quarters(), kind)
    part = load(data, EVERYTHING)
    assert (content(part), part.media_type) == (data, f"image/{kind.lower()}")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow cannot write AVIF")
def test_avif_is_encoded_again() -> None:
    part = load(encoded(quarters(), "AVIF", quality=100))
    assert difference(shown(part).crop((0, 0, 24, 12)), quarters().crop((0, 0, 24, 12))) <= 20


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
@pytest.mark.parametrize("accept", [PNG_AND_JPEG, EVERYTHING], ids=["refused", "taken"])
def test_of_an_animation_the_first_frame_is_sent(kind: str, accept: frozenset[str]) -> None:
    part = load(animated(kind, **({"lossless": True} if kind == "WEBP" else {})), accept)
    assert part.media_type == "image/png"
    assert difference(shown(part), quarters()) <= 60


def test_an_animated_png_is_a_png() -> None:
    data = animated("PNG")
    assert content(load(data)) == data


def test_png_becomes_jpeg_where_only_jpeg_is_taken() -> None:
    part = load(png(), frozenset({"image/jpeg"}))
    assert part.media_type == "image/jpeg"
    assert difference(shown(part), quarters()) <= 60


def test_jpeg_becomes_png_where_only_png_is_taken() -> None:
    assert load(jpeg(), frozenset({"image/png"})).media_type == "image/png"


@pytest.mark.parametrize("accept", [frozenset[str](), frozenset({"image/webp"})])
def test_a_server_that_takes_neither_png_nor_jpeg_is_an_error(accept: frozenset[str]) -> None:
    for source in (image_from_bytes(png()), image_from_pil(quarters())):
        with pytest.raises(UnsupportedContentError, match="PNG or JPEG"):
            load_image(source, accept=accept)


class TestModes:
    @pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA", "RGBa", "P", "L", "RGB"])
    @pytest.mark.parametrize("accept", [PNG_AND_JPEG, frozenset({"image/jpeg"})], ids=["png", "jpeg"])
    def test_what_is_transparent_becomes_white_in_every_mode(self, mode: str, accept: frozenset[str]) -> None:
        """Servers that drop the alpha channel show what lies beneath it, which is black here."""
        image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
        image.paste((200, 200, 200, 255), (0, 0, 4, 8))
        if mode in {"LA", "La", "RGBA", "RGBa"}:
            converted = image.convert("LA" if mode == "La" else mode).convert(mode)
        elif mode == "PA":
            converted = Image.new("PA", (8, 8), (0, 0))
            converted.putpalette([200, 200, 200])
            converted.paste((0, 255), (0, 0, 4, 8))
        else:
            converted = image.convert("L").convert(mode)
            converted.info["transparency"] = {"L": 0, "RGB": (0, 0, 0), "P": 0}[mode]
        seen = shown(load_pil(converted, accept))
        assert seen.mode in {"L", "RGB"}
        near = [colour(seen, at)[0] for at in ((1, 1), (6, 6))]
        assert near == [pytest.approx(200, abs=4), pytest.approx(255, abs=4)]

    def test_what_is_half_transparent_is_mixed_with_white(self) -> None:
        assert colour(shown(load_pil(Image.new("RGBA", LARGE, HALF_CLEAR)))) == (132, 227, 142)

    def test_alpha_that_hides_nothing_does_not_make_a_photo_a_png(self) -> None:
        image = photo(LARGE)
        part = load_pil(image.convert("RGBA"))
        assert part.media_type == "image/jpeg"
        assert difference(shown(part), image) <= 60

    def test_cmyk_becomes_rgb(self) -> None:
        image = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
        for part in (load_pil(image), load(encoded(image, "TIFF"))):
            red, green, blue = colour(shown(part))
            assert (red, green, blue) == (255, 0, 0)

    def test_a_cmyk_jpeg_that_is_turned_keeps_its_colours(self) -> None:
        data = encoded(Image.new("CMYK", (32, 16), (0, 255, 255, 0)), "JPEG", quality=95, exif=exif_block(6))
        seen = shown(load(data))
        red, green, blue = colour(seen)
        assert seen.mode == "RGB"
        assert red > 240
        assert max(green, blue) < 20

    def test_a_palette_picture_keeps_its_colours(self) -> None:
        image = quarters(LARGE).quantize(8)
        part = load_pil(image)
        assert part.media_type == "image/png"
        assert difference(shown(part), image) == 0
        assert difference(shown(load_pil(image, frozenset({"image/jpeg"}))), image) <= 60

    @pytest.mark.parametrize("accept", [PNG_AND_JPEG, frozenset({"image/jpeg"})])
    def test_black_and_white_stays_so(self, accept: frozenset[str]) -> None:
        image = quarters().convert("1", dither=Image.Dither.NONE)
        assert difference(shown(load_pil(image, accept)), image) <= 20

    @pytest.mark.parametrize("mode", ["HSV", "YCbCr", "LAB", "RGBX"])
    def test_other_colour_spaces_become_rgb(self, mode: str) -> None:
        if mode == "LAB" and not features.check("littlecms2"):
            pytest.skip("this Pillow has no colour management")
        if mode == "LAB":
            image = Image.new("LAB", (32, 32), (136, 208, 195))  # about pure red
            red, green, blue = colour(shown(load_pil(image)), (5, 5))
            assert red > 200
            assert max(green, blue) < 60
        else:
            assert difference(shown(load_pil(quarters().convert(mode))), quarters()) <= 6

    @pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
    def test_sixteen_bits_keep_their_scale(self, mode: str) -> None:
        image = Image.new("I;16", (3, 1))
        for x, value in enumerate((0, 32768, 65535)):
            image.putpixel((x, 0), value)
        seen = shown(load_pil(image if mode == "I;16" else image.convert("I").convert(mode)))
        assert [seen.getpixel((x, 0)) for x in range(3)] == [0, 128, 255]

    @pytest.mark.parametrize(("mode", "values"), [("I", (-100, 1, 100)), ("F", (-0.5, 0.0, 0.5))])
    def test_samples_without_a_scale_are_stretched(self, mode: str, values: tuple[float, ...]) -> None:
        image = Image.new(mode, (3, 1))
        for x, value in enumerate(values):
            image.putpixel((x, 0), value)
        seen = shown(load_pil(image))
        assert [seen.getpixel((x, 0)) for x in range(3)] == [0, 129 if mode == "I" else 128, 255]

    def test_a_flat_picture_without_a_scale_is_black(self) -> None:
        assert shown(load_pil(Image.new("F", (4, 4), 7.5))).getextrema() == (0, 0)

    @pytest.mark.parametrize("value", [float("inf"), float("-inf")])
    def test_samples_that_are_no_numbers_are_refused(self, value: float) -> None:
        image = Image.new("F", (4, 4))
        image.putpixel((1, 1), value)
        with pytest.raises(InvalidMediaError, match="infinite or not numbers"):
            load_pil(image)

    def test_a_16_bit_grayscale_png_does_not_become_a_white_sheet(self) -> None:
        """Pillow, which most servers use, clips such a file to white when it makes RGB of it."""
        image = Image.new("I;16", (64, 32), 20000)
        part = load(encoded(image, "PNG"))
        assert colour(shown(part)) == (78, 78, 78)


class TestPngOrJpeg:
    def test_a_small_picture_stays_lossless(self) -> None:
        part = load_pil(quarters((512, 512)))
        assert part.media_type == "image/png"
        assert difference(shown(part), quarters((512, 512))) == 0

    @pytest.mark.parametrize("mode", ["RGB", "L"])
    def test_a_large_photo_becomes_jpeg(self, mode: str) -> None:
        image = photo((520, 512)).convert(mode)
        part = load_pil(image)
        assert part.media_type == "image/jpeg"
        assert shown(part).mode == mode
        assert difference(shown(part), image) <= 60

    @pytest.mark.parametrize("size", [LARGE, (1600, 1000)])
    def test_a_screenshot_stays_lossless(self, size: tuple[int, int]) -> None:
        part = load_pil(screenshot(size))
        assert part.media_type == "image/png"
        assert difference(shown(part), screenshot(size)) == 0

    def test_a_drawing_that_would_be_far_larger_as_png_becomes_jpeg(self) -> None:
        """Flat enough for a drawing, but with a photograph in it that PNG cannot press together."""
        image = Image.new("RGB", (1600, 1000), "white")
        image.paste(photo((1600, 460)), (0, 0))
        part = load_pil(image)
        assert part.media_type == "image/jpeg"

    def test_the_quality_of_jpeg_can_be_set(self) -> None:
        sizes = [len(load_image(image_from_pil(photo()), accept=PNG_AND_JPEG, quality=q)[0].base64) for q in (95, 60)]
        assert sizes[0] > 2 * sizes[1]

    def test_coloured_edges_stay_sharp_in_a_jpeg(self) -> None:
        """Full chroma: with the usual halved chroma the red column would bleed into its neighbours."""
        image = Image.new("RGB", LARGE, "white")
        image.paste((255, 0, 0), (301, 0, 302, LARGE[1]))
        red, green, _ = colour(shown(load_pil(image, frozenset({"image/jpeg"}))), (301, 250))
        assert red > 200
        assert green < 60

    def test_what_is_too_long_for_jpeg_becomes_png(self) -> None:
        image = Image.new("RGB", (70_000, 5), "red")
        assert load_pil(image).media_type == "image/png"
        with pytest.raises(InvalidMediaError, match="too long for JPEG"):
            load_pil(image, frozenset({"image/jpeg"}))


def test_a_picture_that_is_encoded_again_loses_its_metadata() -> None:
    """The place where a photo was taken does not go along."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[2] = (51.0, 30.0, 26.0)
    extra = PngImagePlugin.PngInfo()
    extra.add_text("Comment", "secret place")
    turned = jpeg(exif=exif, icc_profile=b"profile " * 20, comment=b"secret place", dpi=(300, 300))
    with_text = Image.open(io.BytesIO(encoded(quarters(), "PNG", pnginfo=extra, exif=exif)))
    for part in (load(turned), load_pil(with_text), load_pil(Image.open(io.BytesIO(turned)))):
        seen = shown(part)
        assert not seen.getexif()
        assert not {"icc_profile", "comment", "Comment", "exif"} & set(seen.info)
        assert b"secret" not in content(part)


def test_no_warning_of_pillow_about_large_pictures_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library has its own bound, so that Pillow's matters for TIFF only, whose plugin insists on it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for kind in ("JPEG", "PNG", "BMP", "GIF", "WEBP"):
            load(encoded(quarters(), kind, **({"exif": exif_block(6)} if kind == "JPEG" else {})))
        with pytest.raises(InvalidMediaError, match="limit is 1500"):
            load(encoded(quarters(), "TIFF"))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
        load(encoded(quarters(), "TIFF"))
    assert not caught


@pytest.mark.parametrize("kind", ["TIFF", "AVIF"])
def test_the_size_of_types_that_pillow_reads_is_checked_before_they_are_decoded(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow cannot write it")
    source = image_from_bytes(encoded(quarters(), kind))
    with pytest.raises(InvalidMediaError, match="64 x 32 pixels; the limit is 100"):
        load_image(source, accept=PNG_AND_JPEG, limits=MediaLimits(max_pixels=100))


def _noise(kind: str, **options: Any) -> bytes:
    return encoded(Image.effect_noise((64, 64), 80).convert("RGB"), kind, **options)


def _damaged(kind: str) -> bytes:
    """A file with a sound header that cannot be decoded."""
    if kind == "JPEG":  # the Huffman tables are wiped out
        whole = jpeg(exif=exif_block(6))
        tables = whole.index(b"\xff\xc4") + 4
        return whole[:tables] + bytes(60) + whole[tables + 60 :]
    if kind == "GIF":  # the picture's data is left out
        screen = struct.pack("<6sHHBBB", b"GIF89a", 64, 64, 0, 0, 0)
        return screen + struct.pack("<BHHHHB", 0x2C, 0, 0, 64, 64, 0) + b"\x08\x00;"
    if kind == "PNG":  # the pixels are not compressed data; EXIF asks for a turn, so it is decoded
        whole = encoded(quarters(), "PNG", exif=exif_block(6))
        pixels = whole.index(b"IDAT") - 4
        return whole[:pixels] + chunk(b"IDAT", bytes(50)) + chunk(b"IEND", b"")
    if kind == "WEBP":  # half of the file, with a length that says so
        half = _noise("WEBP")[:800]
        return half[:4] + struct.pack("<I", len(half) - 8) + half[8:]
    whole = _noise(kind, **({"compression": "tiff_deflate"} if kind == "TIFF" else {}))
    return whole[:60] + bytes(200) + whole[260:] if kind == "TIFF" else whole[: len(whole) // 2]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "AVIF"])
def test_damage_that_only_decoding_shows_is_a_clear_error(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow cannot write it")
    with pytest.raises(InvalidMediaError, match=rf"(?i)\({kind}\) cannot be decoded: .*[^.]\.$") as caught:
        load(_damaged(kind))
    assert caught.value.__cause__ is not None


def test_a_picture_that_pillow_opened_from_a_cut_file_is_a_clear_error() -> None:
    image = Image.open(io.BytesIO(encoded(Image.effect_noise((200, 200), 80), "PNG")[:2000]))
    with pytest.raises(InvalidMediaError, match="cannot be encoded"):
        load_pil(image)


def test_a_pil_image_that_contradicts_itself_is_a_clear_error() -> None:
    image = quarters()
    image.info["transparency"] = "no colour"
    with pytest.raises(InvalidMediaError, match="The PIL image cannot be encoded"):
        load_pil(image)


@pytest.mark.parametrize("feature", ["webp", "avif"])
def test_a_pillow_without_the_decoder_is_a_clear_error(feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not features.check(feature):
        pytest.skip("this Pillow cannot write it")
    data = encoded(quarters(), feature.upper())

    def lacks(name: str) -> bool:
        return name != feature

    monkeypatch.setattr(features, "check", lacks)
    with pytest.raises(UnsupportedContentError, match="this build of Pillow"):
        load(data)


def test_a_png_chunk_that_pillow_refuses_is_a_clear_error() -> None:
    """A PNG is turned here, so it is decoded; its text chunk is a bomb that Pillow will not unpack."""
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80 * 1024 * 1024)))
    plain = encoded(quarters(), "PNG", exif=exif_block(6))
    with pytest.raises(InvalidMediaError, match="cannot be decoded"):
        load(plain[:33] + bomb + plain[33:])
