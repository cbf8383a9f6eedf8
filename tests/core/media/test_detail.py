"""What is sent of a large picture: no more than the model looks at, and nothing that it would see differently."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from minicpm_core.errors import InvalidInputError, InvalidMediaError
from minicpm_core.media import MediaLimits, image_from_bytes, image_from_pil, image_grid, load_image, visual_tokens
from minicpm_core.media.detail import LONGEST, chosen, fitted, plan
from minicpm_core.parts import TILE_PIXELS, Detail, ImagePart
from tests.core.media.pictures import (
    PNG_AND_JPEG,
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

NINE = 9 * TILE_PIXELS
DETAILS: list[Detail] = ["auto", "low", "high", "original"]
lengths = st.integers(40, 14_000)


def load(data: bytes, detail: Detail = "auto", max_slices: int = 9) -> tuple[ImagePart, ...]:
    return load_image(image_from_bytes(data), accept=PNG_AND_JPEG, detail=detail, max_slices=max_slices)


class TestTheSize:
    @given(width=lengths, height=lengths, max_slices=st.sampled_from([1, 2, 4, 6, 9, 16, 25, 36]))
    def test_the_model_makes_the_same_grid_and_counts_the_same_tokens(
        self, width: int, height: int, max_slices: int
    ) -> None:
        size = width, height
        assume(max(size) <= LONGEST * min(size))
        smaller = fitted(size, max_slices)
        assert image_grid(smaller, max_slices=max_slices) == image_grid(size, max_slices=max_slices)
        for formula in ("v46", "resampler64"):
            assert visual_tokens(smaller, formula, max_slices=max_slices) == visual_tokens(
                size, formula, max_slices=max_slices
            )

    @given(width=lengths, height=lengths, max_slices=st.integers(1, 36))
    def test_it_is_within_the_bound_and_near_it_and_keeps_the_shape(
        self, width: int, height: int, max_slices: int
    ) -> None:
        assume(max(width, height) <= LONGEST * min(width, height))
        cap = max_slices * TILE_PIXELS
        found = fitted((width, height), max_slices)
        if width * height <= cap:
            assert found == (width, height)
            return
        assert 0.85 * cap <= found[0] * found[1] <= cap
        assert found[0] <= width
        assert found[1] <= height
        rounding = 3 / min(found) + 3 / max(found)
        assert found[0] / found[1] == pytest.approx(width / height, rel=rounding)

    @given(width=st.integers(1, 20_000), height=st.integers(1, 20_000))
    def test_one_tile_costs_what_the_model_takes_for_one_tile(self, width: int, height: int) -> None:
        assume(max(width, height) <= LONGEST * min(width, height))
        size = plan((width, height), "low", 9).whole.size
        assert image_grid(size) is None
        assert visual_tokens(size) == visual_tokens((width, height), max_slices=1)

    @given(width=st.integers(1, 100_000), height=st.integers(1, 100_000), detail=st.sampled_from(DETAILS))
    def test_every_size_has_a_plan_of_a_shape_that_servers_bear(self, width: int, height: int, detail: Detail) -> None:
        todo = plan((width, height), detail, 9)
        for canvas in (todo.whole, todo.largest):
            assert 1 <= canvas.inner[0] <= min(canvas.size[0], width)
            assert 1 <= canvas.inner[1] <= min(canvas.size[1], height)
            if detail == "original":
                assert canvas.size == (width, height)
            else:
                assert max(canvas.size) <= (LONGEST + 1) * min(canvas.size)
                assert todo.whole.size[0] * todo.whole.size[1] <= NINE

    def test_worked_examples(self) -> None:
        assert plan((4032, 3024), "auto", 9).whole.size == (1551, 1163)
        assert plan((4032, 3024), "low", 9).whole.size == (516, 387)
        assert plan((1920, 940), "auto", 9).whole.size == (1920, 940)

    def test_where_no_size_suits_all_formulas_the_grid_and_the_usual_count_are_kept(self) -> None:
        size, found = (2180, 3051), fitted((2180, 3051), 9)
        assert image_grid(found) == image_grid(size) == (3, 3)
        assert visual_tokens(found) == visual_tokens(size) == 630
        assert visual_tokens(found, downsample="4x") != visual_tokens(size, downsample="4x")

    def test_a_pictures_own_detail_wins_if_it_is_one(self) -> None:
        assert [chosen(own, "auto") for own in ("low", "high", "original", "auto", None, "ultra")] == [
            "low", "high", "original", "auto", "auto", "auto",
        ]  # fmt: skip


class TestWhatIsSent:
    def test_a_large_photo_is_sent_at_the_size_that_is_used(self) -> None:
        image = photo((2400, 1800))
        part = one(load(encoded(image, "JPEG", quality=95)))
        assert (part.width, part.height) == shown(part).size == fitted((2400, 1800), 9)
        assert part.media_type == "image/jpeg"
        exact = image.resize(shown(part).size, Image.Resampling.LANCZOS)
        assert ImageChops.difference(shown(part), exact).convert("L").histogram()[40:] == [0] * 216

    @pytest.mark.parametrize("detail", ["auto", "high"])
    def test_what_is_within_the_bound_is_sent_untouched(self, detail: Detail) -> None:
        for data in (png((1344, 1344)), jpeg((600, 500))):
            assert content(one(load(data, detail))) == data

    def test_the_original_is_sent_untouched_however_large(self) -> None:
        data = jpeg((3000, 2000))
        assert content(one(load(data, "original"))) == data

    def test_low_is_one_tile(self) -> None:
        part = one(load(jpeg((1600, 900)), "low"))
        assert part.width * part.height <= TILE_PIXELS
        assert difference(shown(part).crop((0, 0, 200, 100)), quarters((1600, 900)).crop((0, 0, 200, 100))) <= 12

    def test_the_servers_number_of_tiles_counts(self) -> None:
        part = one(load(jpeg((1600, 900)), max_slices=2))
        assert TILE_PIXELS < part.width * part.height <= 2 * TILE_PIXELS

    @pytest.mark.parametrize("turn", [1, 6, 8])
    def test_a_picture_that_lies_on_its_side_is_measured_upright(self, turn: int) -> None:
        part = one(load(jpeg((3000, 1000), exif=exif_block(turn))))
        size = (3000, 1000) if turn == 1 else (1000, 3000)
        assert (part.width, part.height) == shown(part).size == fitted(size, 9)

    def test_a_large_screenshot_stays_lossless_and_a_large_pil_image_is_reduced_too(self) -> None:
        image = screenshot((2400, 1500))
        part = one(load_image(image_from_pil(image), accept=PNG_AND_JPEG, detail="auto"))
        assert part.media_type == "image/png"
        assert difference(shown(part), image.resize((part.width, part.height), Image.Resampling.LANCZOS)) <= 2
        assert image.size == (2400, 1500)

    @pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "RGBA", "CMYK", "I;16", "F"])
    def test_every_mode_can_be_reduced(self, mode: str) -> None:
        image = quarters((1000, 500))
        image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
        part = one(load_image(image_from_pil(image), accept=PNG_AND_JPEG, detail="low"))
        assert shown(part).size == plan((1000, 500), "low", 9).whole.size

    @pytest.mark.parametrize(("size", "side"), [((6000, 3), 0), ((3, 6000), 1)])
    @pytest.mark.parametrize("detail", ["auto", "low", "high"])
    def test_a_strip_gets_white_borders(self, size: tuple[int, int], side: int, detail: Detail) -> None:
        """Servers crash at such shapes; without enlarging anything, only borders help."""
        part = one(load(encoded(Image.new("RGB", size, "red"), "PNG"), detail))
        seen = shown(part)
        assert max(seen.size) <= LONGEST * min(seen.size)
        assert colour(seen, (seen.width // 2, seen.height // 2))[1] < 200, "the strip is in the middle"
        assert colour(seen, (0, 0)) == (255, 255, 255)
        assert seen.size[side] == (6000 if detail != "low" else seen.size[side])

    def test_the_original_of_a_strip_stays_a_strip(self) -> None:
        data = encoded(Image.new("RGB", (6000, 3), "red"), "PNG")
        assert content(one(load(data, "original"))) == data

    def test_a_source_of_its_own_detail(self) -> None:
        source = image_from_bytes(jpeg((1600, 900)), detail="low")
        part = one(load_image(source, accept=PNG_AND_JPEG, detail="original"))
        assert part.width * part.height <= TILE_PIXELS
        assert part.detail == "low"

    def test_the_api_knows_no_original(self) -> None:
        source = image_from_bytes(jpeg(), detail="original")
        assert one(load_image(source, accept=PNG_AND_JPEG, detail="auto")).detail is None

    def test_the_limit_on_pixels_holds_before_the_size_is_reduced(self) -> None:
        with pytest.raises(InvalidMediaError, match="too large"):
            load_image(
                image_from_bytes(jpeg((600, 500))),
                accept=PNG_AND_JPEG,
                detail="low",
                limits=MediaLimits(max_pixels=100),
            )


@pytest.mark.parametrize(
    "settings",
    [{"detail": "huge"}, {"max_slices": 0}, {"quality": 0}, {"quality": 101}, {"frames": "some"}],
    ids=str,
)
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(settings))):
        load_image(image_from_bytes(png()), accept=PNG_AND_JPEG, **settings)  # type: ignore[arg-type]  # the point


def test_a_jpeg_is_decoded_no_larger_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the pixels, a third of the time."""
    decoded: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def watch(image: Image.Image, size: tuple[int, int], *args: object, **options: object) -> Image.Image:
        decoded.append(image.size)
        return resize(image, size, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "resize", watch)
    load(jpeg((4000, 3000)))
    assert decoded == [(2000, 1500)]
