"""Several pictures within a number of tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minicpm_core.errors import InvalidInputError
from minicpm_core.media import count_image_tokens, image_from_pil, load_image
from minicpm_core.media.budget import tiles_within
from minicpm_core.media.detail import fitted, widened
from minicpm_core.media.fit import FITTED_TYPES, fitted_within

MODELS = ("MiniCPM-V-4.6-1B", "openbmb/MiniCPM-o-4_5")
side = st.integers(1, 4000)


def cost(sizes: list[tuple[int, int]], tiles: list[int], model: str) -> int:
    pairs = enumerate(zip(sizes, tiles, strict=True))
    return sum(count_image_tokens(fitted(widened(size), most), model, index=at) for at, (size, most) in pairs if most)


@given(st.lists(st.tuples(side, side), max_size=6), st.integers(0, 8000), st.sampled_from(MODELS))
def test_what_is_chosen_fits(sizes: list[tuple[int, int]], budget: int, model: str) -> None:
    tiles = tiles_within(sizes, budget, model)
    assert len(tiles) == len(sizes)
    assert cost(sizes, tiles, model) <= budget
    shown = [at for at, most in enumerate(tiles) if most]
    assert shown == list(range(len(shown)))  # the first ones


def test_with_room_for_all_nothing_is_made_smaller() -> None:
    assert tiles_within([(3000, 2000), (100, 100)], 100_000, MODELS[0]) == [9, 9]


def test_the_largest_gives_way_first() -> None:
    whole = [(2000, 2000), (300, 300)]
    large, small = tiles_within(whole, cost(whole, [9, 9], MODELS[0]) - 1, MODELS[0])
    assert large < small == 9


def test_no_room_no_pictures() -> None:
    assert tiles_within([(100, 100)], 0, MODELS[0]) == [0]


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="max_tokens"):
        tiles_within([], -1, MODELS[0])


def test_pictures_are_made_as_small_as_their_budget_says_and_the_rest_stay_as_they_are() -> None:
    large, small = (
        load_image(image_from_pil(Image.new("RGB", size, "red")), accept=FITTED_TYPES)[0]
        for size in ((1344, 1344), (100, 100))
    )
    whole = cost([(1344, 1344), (100, 100)], [9, 9], MODELS[0])
    assert fitted_within([large, small], whole, MODELS[0]) == [large, small]
    shrunk, same = fitted_within([large, small], whole - 1, MODELS[0])
    assert shrunk is not None
    assert shrunk.width * shrunk.height < large.width * large.height
    assert same == small
    assert fitted_within([small, small], cost([(100, 100)], [1], MODELS[0]), MODELS[0]) == [small, None]
