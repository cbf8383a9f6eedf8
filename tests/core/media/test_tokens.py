"""Token counts: the published worked examples, and what holds for every size.

The expected numbers are not computed here: they are those of the image processors, cross-checked with a vLLM and a
transformers server, which report the very same counts.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.errors import InvalidInputError
from minicpm_core.media import count_image_tokens, image_grid, visual_tokens

# size, grid, then visual tokens: 16x with at most 9, 36, 1 tiles; 4x by transformers 5.23 and 5.7; resampler with 64
EXAMPLES = [
    ((100, 100), None, 64, 64, 64, 256, 256, 64),
    ((448, 448), None, 64, 64, 64, 256, 256, 64),
    ((449, 449), (2, 1), 196, 196, 64, 762, 784, 192),
    ((640, 480), (1, 2), 203, 203, 63, 772, 812, 192),
    ((1024, 768), (2, 2), 315, 315, 63, 1260, 1260, 320),
    ((1280, 720), (2, 3), 444, 444, 66, 1782, 1776, 448),
    ((1084, 820), (2, 3), 441, 441, 63, 1782, 1764, 448),
    ((1344, 1344), (3, 3), 640, 640, 64, 2560, 2560, 640),
    ((1920, 1080), (2, 4), 578, 822, 66, 2292, 2312, 576),
    ((2480, 3508), (4, 2), 574, 2310, 70, 2223, 2296, 576),
    ((4032, 3024), (3, 3), 630, 2303, 63, 2520, 2520, 640),
    ((3000, 500), (1, 7), 501, 501, 60, 2019, 2004, 512),
]
Row = tuple[tuple[int, int], tuple[int, int] | None, int, int, int, int, int, int]


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: f"{row[0][0]}x{row[0][1]}")
def test_the_worked_examples(row: Row) -> None:
    size, grid, nine, thirty_six, one, fine, fine_older, resampler = row
    assert image_grid(size) == grid
    assert visual_tokens(size) == nine
    assert visual_tokens(size, max_slices=36) == thirty_six
    assert visual_tokens(size, max_slices=1) == one
    assert visual_tokens(size, downsample="4x") == fine
    assert visual_tokens(size, downsample="4x", resize_multiple=56) == fine_older
    assert visual_tokens(size, "resampler64") == resampler


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: f"{row[0][0]}x{row[0][1]}")
@pytest.mark.parametrize("index", [0, 12])
def test_the_worked_examples_with_all_that_the_prompt_puts_around_them(row: Row, index: int) -> None:
    size, grid, nine, _, one, fine, _, resampler = row
    rows, columns = grid or (0, 0)
    uncut = 4 + len(str(index))
    around = uncut + 2 * rows * columns + max(rows - 1, 0)
    assert count_image_tokens(size, "MiniCPM-V-4.6-1B", index=index) == nine + around
    assert count_image_tokens(size, "MiniCPM-V-4.6-1B", downsample="4x", index=index) == fine + around
    assert count_image_tokens(size, "MiniCPM-V-4.6-1B", max_slices=1, index=index) == one + uncut
    for model in ("MiniCPM-o-4_5", "MiniCPM-V-4_5"):
        assert count_image_tokens(size, model, index=index) == resampler + around
        assert count_image_tokens(size, model, downsample="4x", index=index) == resampler + around


@pytest.mark.parametrize(
    ("size", "prompt_tokens"),
    [
        ((100, 100), 69),
        ((449, 449), 206),
        ((640, 480), 212),
        ((1280, 720), 462),
        ((1920, 1080), 600),
        ((3000, 500), 520),
        ((2480, 3508), 598),
    ],
)
def test_the_count_of_a_real_server(size: tuple[int, int], prompt_tokens: int) -> None:
    """What vLLM 0.32 reported for one picture, less what it reported for the same question without it."""
    assert count_image_tokens(size, "MiniCPM-V-4.6-Instruct") == prompt_tokens


def test_a_real_server_counts_two_pictures_as_the_sum() -> None:
    model = "openbmb/MiniCPM-V-4_6-Thinking"
    both = count_image_tokens((640, 480), model) + count_image_tokens((100, 100), model, index=1)
    assert both == 281


def test_the_overhead_is_one_token_for_each_mark_digit_and_newline() -> None:
    assert count_image_tokens((448, 448), "MiniCPM-V-4.6-1B") == 64 + 4 + 1
    assert count_image_tokens((448, 448), "MiniCPM-V-4.6-1B", index=10) == 64 + 4 + 2
    assert count_image_tokens((1024, 768), "MiniCPM-V-4.6-1B") == 315 + 4 + 1 + 2 * 4 + 1


def test_the_model_decides_the_formula() -> None:
    for model in ("MiniCPM-O-4.5-9B", "openbmb/minicpm-v4.5:latest"):
        assert count_image_tokens((1280, 720), model) == 448 + 4 + 1 + 2 * 6 + 1
    for model in ("MiniCPM-V-4.6-1B", "a model that nobody knows"):
        assert count_image_tokens((1280, 720), model) == 444 + 4 + 1 + 2 * 6 + 1


def test_the_settings_reach_the_formula() -> None:
    assert count_image_tokens((4032, 3024), "MiniCPM-V-4.6-1B", max_slices=1) == 63 + 5
    assert count_image_tokens((100, 100), "MiniCPM-V-4.6-1B", downsample="4x") == 256 + 5


sizes = st.tuples(st.integers(1, 20_000), st.integers(1, 20_000))


@given(size=sizes, max_slices=st.integers(1, 36))
def test_no_grid_has_more_tiles_than_allowed(size: tuple[int, int], max_slices: int) -> None:
    rows, columns = image_grid(size, max_slices=max_slices) or (1, 1)
    assert 1 <= rows * columns <= max_slices
    assert (image_grid(size, max_slices=max_slices) is None) == (rows * columns == 1)


@given(width=st.integers(50, 5000), height=st.integers(50, 5000))
def test_a_picture_of_fair_shape_stays_within_the_known_bounds(width: int, height: int) -> None:
    """At most 720 tokens for pictures up to 10 times as long as wide, by a sweep over sizes."""
    if max(width, height) <= 10 * min(width, height):
        assert 40 <= visual_tokens((width, height)) <= 720


@given(size=sizes)
def test_turning_a_picture_turns_its_grid_unless_both_ways_are_as_good(size: tuple[int, int]) -> None:
    grid, turned = image_grid(size), image_grid((size[1], size[0]))
    assert (grid is None) == (turned is None)
    if grid and turned:
        assert grid[0] * grid[1] == turned[0] * turned[1]


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (-1, 10)])
def test_a_size_that_cannot_be_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError, match="1 or more"):
        count_image_tokens(size, "MiniCPM-V-4.6-1B")


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="1 or more"):
        image_grid((10, 10), max_slices=0)
    with pytest.raises(InvalidInputError, match="16x, 4x"):
        count_image_tokens((10, 10), "MiniCPM-V-4.6-1B", downsample="8x")  # type: ignore[arg-type]  # the point
    with pytest.raises(InvalidInputError, match="multiple of 14"):
        visual_tokens((10, 10), resize_multiple=50)
