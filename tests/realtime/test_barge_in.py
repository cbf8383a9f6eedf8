"""Noticing that somebody speaks over the model."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.errors import ConfigurationError, InvalidInputError
from minicpm_core.realtime import BargeIn
from minicpm_core.realtime.samples import f32_to_pcm16


def tone(milliseconds: int, level: float = 0.2, rate: int = 16_000) -> array[float]:
    return array("f", [level, -level] * (rate * milliseconds // 2000))


QUIET = tone(1000, 0.001)


def test_speech_over_the_model_is_told_once() -> None:
    barge_in = BargeIn()
    assert not barge_in.hear(QUIET, playing=True)
    told = [barge_in.hear(tone(100), playing=True) for _ in range(10)]
    assert told == [False, True] + [False] * 8
    assert barge_in.speaking


def test_after_a_silence_it_is_told_again_but_not_between_words() -> None:
    barge_in = BargeIn(release_s=0.5)
    assert barge_in.hear(tone(300), playing=True)
    barge_in.hear(QUIET[:6400], playing=True)
    assert not barge_in.hear(tone(300), playing=True)
    barge_in.hear(QUIET, playing=True)
    assert not barge_in.speaking
    assert barge_in.hear(tone(300), playing=True)


def test_who_speaks_while_the_model_is_silent_does_not_interrupt_it_until_it_speaks() -> None:
    barge_in = BargeIn()
    assert not barge_in.hear(tone(500), playing=False)
    assert barge_in.hear(tone(100), playing=True)


def test_a_click_is_not_speech() -> None:
    barge_in = BargeIn()
    for _ in range(5):
        assert not barge_in.hear(tone(100, 0.9), playing=True)
        assert not barge_in.hear(QUIET, playing=True)


def test_reset_forgets() -> None:
    barge_in = BargeIn()
    assert barge_in.hear(tone(300), playing=True)
    barge_in.reset()
    assert not barge_in.speaking
    assert barge_in.hear(tone(300), playing=True)


@given(st.lists(st.integers(1, 12_800), max_size=8))
def test_however_the_sound_is_cut_it_is_told_once(cuts: list[int]) -> None:
    sound = f32_to_pcm16((tone(200, 0.0) + tone(400) + tone(200, 0.0)).tobytes())
    places = sorted({0, len(sound), *(2 * cut for cut in cuts)})
    barge_in = BargeIn()
    told = [barge_in.hear(sound[a:b], playing=True) for a, b in zip(places, places[1:], strict=False)]
    assert sum(told) == 1


def test_other_rates_and_float_bytes() -> None:
    loud = tone(300, rate=48_000)
    assert BargeIn().hear(loud.tobytes(), playing=True, format="f32", sample_rate=48_000)


@pytest.mark.parametrize("sound", [b"123", "sound", array("f", [7.0])])
def test_what_is_no_sound_is_refused(sound: Any) -> None:
    with pytest.raises(InvalidInputError):
        BargeIn().hear(sound, playing=True)


@pytest.mark.parametrize("setting", [{"level_dbfs": 1}, {"hold_s": -1}, {"release_s": -1}])
def test_impossible_settings_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        BargeIn(**setting)
