"""Cut-outs of a large picture show all of it once, in reading order, each no larger than the server looks at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minicpm_core.media import image_from_bytes, load_image
from minicpm_core.media.detail import fitted
from minicpm_core.media.tiles import MOST_TILES, Box, cut_outs
from minicpm_core.parts import TILE_PIXELS, ImagePart
from tests.core.media.pictures import PNG_AND_JPEG, colour, encoded, jpeg, one, photo, quarters, screenshot, shown

SLICES = [1, 2, 4, 6, 9, 16, 25]


def area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


@given(width=st.integers(300, 12_000), height=st.integers(300, 12_000), max_slices=st.sampled_from(SLICES))
def test_they_cover_the_picture_once_and_each_is_within_the_bound(width: int, height: int, max_slices: int) -> None:
    found = cut_outs((width, height), max_slices)
    assert (found is None) == (width * height <= max_slices * TILE_PIXELS)
    if found is None:
        return
    size, boxes = found
    assert size[0] <= width
    assert size[1] <= height
    assert size[0] * size[1] <= MOST_TILES * TILE_PIXELS
    assert all(0 < area(box) <= max_slices * TILE_PIXELS for box in boxes)
    assert sum(map(area, boxes)) == size[0] * size[1], "no gap and no overlap"
    assert list(boxes) == sorted(boxes, key=lambda box: (box[1], box[0])), "in reading order"
    assert len(boxes) * max_slices <= MOST_TILES + 2 * max_slices


@given(width=st.integers(1500, 12_000), height=st.integers(1500, 12_000))
def test_the_most_pixels_are_used(width: int, height: int) -> None:
    found = cut_outs((width, height), 9)
    if found:
        wanted = min(width * height, MOST_TILES * TILE_PIXELS)
        assert 0.98 * wanted <= found[0][0] * found[0][1] <= wanted


@pytest.mark.parametrize(
    ("size", "scaled", "grid"),
    [
        ((4032, 3024), (3102, 2326), (2, 2)),
        ((2480, 3508), (2260, 3196), (2, 2)),
        ((1920, 1080), (1920, 1080), (1, 2)),
        ((1080, 1920), (1080, 1920), (2, 1)),
        ((6000, 1000), (6000, 1000), (1, 4)),
    ],
)
def test_worked_examples(size: tuple[int, int], scaled: tuple[int, int], grid: tuple[int, int]) -> None:
    found = cut_outs(size, 9)
    assert found
    assert found[0] == scaled
    rows, columns = len({box[1] for box in found[1]}), len({box[0] for box in found[1]})
    assert (rows, columns) == grid
    assert len(found[1]) == rows * columns


def test_a_server_that_takes_all_tiles_needs_no_cut_outs() -> None:
    assert cut_outs((4032, 3024), 36) is None


def load(data: bytes) -> tuple[ImagePart, ...]:
    return load_image(image_from_bytes(data), accept=PNG_AND_JPEG, detail="high")


def test_an_overview_comes_first_and_then_the_cut_outs() -> None:
    overview, *rest = load(encoded(quarters((2400, 1800)), "PNG"))
    assert (overview.width, overview.height) == fitted((2400, 1800), 9)
    assert [(part.width, part.height) for part in rest] == [(1200, 900)] * 4


def test_the_cut_outs_show_the_picture_at_its_full_resolution() -> None:
    image = screenshot((2000, 1600))
    overview, *rest = load(encoded(image, "PNG"))
    found = cut_outs((2000, 1600), 9)
    assert found
    assert len(rest) == len(found[1])
    for part, box in zip(rest, found[1], strict=True):
        assert shown(part).convert("RGB").tobytes() == image.crop(box).tobytes()
    assert shown(overview).size == fitted((2000, 1600), 9)


def test_a_picture_beyond_36_tiles_is_reduced_first() -> None:
    overview, *rest = load(jpeg((4032, 3024)))
    assert len(rest) == 4
    assert sum(part.width * part.height for part in rest) == 3102 * 2326
    assert colour(shown(rest[0]))[0] > 200, "red is at the upper left"
    assert colour(shown(rest[3])) == pytest.approx((250, 250, 250), abs=4)
    assert overview.width * overview.height <= 9 * TILE_PIXELS


def test_what_one_picture_can_show_is_one_picture() -> None:
    one(load(encoded(photo((1300, 1300)), "JPEG")))


def test_a_long_strip_is_cut_too() -> None:
    parts = load(encoded(Image.new("RGB", (30_000, 150), "red"), "PNG"))
    assert len(parts) > 2
    assert all(max(shown(part).size) <= 100 * min(shown(part).size) for part in parts)
    assert len({part.height for part in parts[1:]}) == 1
