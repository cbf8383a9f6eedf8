"""Units of exactly one second, of whatever sound, however it is cut."""

from __future__ import annotations

import io
import math
import random
import sys
import wave
from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicpm_core.errors import InvalidInputError
from minicpm_core.realtime.arithmetic import NumpyArithmetic, PlainArithmetic, arithmetic
from minicpm_core.realtime.audio import UNIT_BYTES, UnitMaker
from minicpm_core.realtime.samples import f32_to_pcm16, pcm16_to_f32
from minicpm_core.realtime.wav import WavWriter, seconds, to_wav

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_ARITHMETICS = {"numpy": NumpyArithmetic, "no numpy": PlainArithmetic}


@pytest.fixture(autouse=True, scope="module", params=_ARITHMETICS)
def installed(request: pytest.FixtureRequest) -> Iterator[None]:
    """All of it holds whether or not numpy is installed."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "no numpy":
            patch.setitem(sys.modules, "numpy", None)
        arithmetic.cache_clear()
        assert isinstance(arithmetic(), _ARITHMETICS[request.param])
        yield
    arithmetic.cache_clear()


RATES = [8000, 16_000, 22_050, 24_000, 44_100, 48_000]


def _tone(rate: int, length: float, frequency: float = 440.0) -> array[float]:
    return array("f", (0.5 * math.sin(2 * math.pi * frequency * at / rate) for at in range(round(rate * length))))


def _units(pieces: list[Any], **how: Any) -> list[bytes]:
    maker = UnitMaker()
    return [unit for piece in pieces for unit in maker.push(piece, **how)] + maker.flush()


def _rms(units: list[bytes], *, start: int = 0, end: int | None = None) -> float:
    floats = array("f", b"".join(units))[start:end]
    return math.sqrt(sum(value * value for value in floats) / len(floats))


_CUTS = st.lists(st.integers(0, 200_000), max_size=6)


@settings(max_examples=25)
@given(cuts=_CUTS, rate=st.sampled_from(RATES), kind=st.sampled_from(["pcm16", "f32"]))
def test_any_cut_gives_the_same_units(cuts: list[int], rate: int, kind: str) -> None:
    """Also inside of a sample."""
    tone = _tone(rate, 1.1).tobytes()
    data = tone if kind == "f32" else f32_to_pcm16(tone)
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    whole = _units([data], format=kind, sample_rate=rate)
    assert _units(pieces, format=kind, sample_rate=rate) == whole
    assert [len(unit) for unit in whole] == [UNIT_BYTES] * 2


@given(st.integers(0, 40_000))
@settings(max_examples=20)
def test_nothing_is_lost_and_the_rest_is_silence(length: int) -> None:
    data = pcm16_to_f32(array("h", (1 + at % 1000 for at in range(length))).tobytes())
    units = _units([data], format="f32")
    joined = b"".join(units)
    assert len(units) == -(-length // 16_000)
    assert joined[: len(data)] == data
    assert not joined[len(data) :].strip(b"\0")


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 22_051, 24_000, 44_100, 48_000, 96_000])
def test_another_rate_keeps_the_tone_and_its_length(rate: int) -> None:
    units = _units([_tone(rate, 1.0)], sample_rate=rate)
    expected = _tone(16_000, 1.0)
    assert len(units) == 1
    found = array("f", units[0])
    inner = range(200, 15_800)
    assert max(abs(found[at] - expected[at]) for at in inner) < 0.002


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
def test_what_the_model_cannot_hear_does_not_come_back_as_another_tone(rate: int) -> None:
    """10 kHz would fold to 6 kHz."""
    units = _units([_tone(rate, 1.0, 10_000)], sample_rate=rate)
    assert _rms(units, start=200, end=15_800) < 0.001 * _rms([_tone(16_000, 1.0).tobytes()])


@pytest.mark.parametrize("rate", [8000, 22_051, 44_100, 48_000])
def test_numpy_changes_no_more_than_a_rounding(rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = array("f", (random.Random(rate).uniform(-1, 1) for _ in range(rate // 4)))
    found: list[array[float]] = []
    for module in (np, None):
        monkeypatch.setitem(sys.modules, "numpy", module)
        arithmetic.cache_clear()
        found.append(array("f", b"".join(_units([noise], sample_rate=rate))))
    arithmetic.cache_clear()
    assert max(abs(one - other) for one, other in zip(*found, strict=True)) < 1e-6


def test_a_constant_stays_what_it_is_and_full_scale_is_not_exceeded() -> None:
    square = array("f", (1.0 if at % 200 < 100 else -1.0 for at in range(48_000)))
    floats = array("f", _units([square], sample_rate=48_000)[0])
    assert (max(floats), min(floats)) == (1.0, -1.0)
    constant = array("f", _units([array("f", [0.25] * 44_100)], sample_rate=44_100)[0])
    assert max(abs(value - 0.25) for value in constant[100:15_900]) < 1e-6


def test_a_change_of_rate_completes_what_came_before() -> None:
    maker = UnitMaker()
    first = list(maker.push(_tone(48_000, 0.5), sample_rate=48_000))
    second = list(maker.push(_tone(16_000, 0.5), sample_rate=16_000))
    assert [len(first), len(second), len(maker.flush())] == [0, 1, 0]


def _wave() -> np.ndarray[Any, Any]:
    return np.frombuffer(_tone(16_000, 1.0).tobytes(), dtype="<f4")


_KINDS: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "float32": lambda wave: wave,
    "float64": lambda wave: wave.astype("f8"),
    "column": lambda wave: wave.reshape(-1, 1),
    "strided": lambda wave: np.stack([wave, wave])[0],
    "every other": lambda wave: np.repeat(wave, 2)[::2],
    "array": lambda wave: array("f", wave.tobytes()),
    "memoryview": lambda wave: memoryview(wave.tobytes()).cast("f"),
}


@pytest.mark.parametrize("kind", _KINDS)
def test_arrays_are_what_their_type_says(kind: str) -> None:
    wave = _wave()
    (unit,) = UnitMaker().push(_KINDS[kind](wave))
    assert unit == wave.tobytes()


@pytest.mark.parametrize("sound", [b"\0\1" * 16_000, bytearray(b"\0\1" * 16_000), np.full(16_000, 256, "i2")])
def test_bytes_and_int16_are_pcm16(sound: Any) -> None:
    (unit,) = UnitMaker().push(sound)
    assert array("f", unit) == array("f", [256 / 32768] * 16_000)


_BAD: list[tuple[Any, dict[str, Any], str]] = [
    ("text", {}, "not str"),
    (5, {}, "not int"),
    (None, {}, "not NoneType"),
    (np.zeros((100, 2), "f4"), {}, "one channel"),
    (np.zeros(4, "i4"), {}, "int16, float32 or float64"),
    (np.zeros(4, ">f4"), {}, "byte order"),
    (np.zeros(4, "f4"), {"format": "pcm16"}, "are f32"),
    (np.zeros(4, "i2"), {"format": "f32"}, "are pcm16"),
    (array("f", [math.nan]), {}, "NaN"),
    (array("f", [-math.inf]), {}, "NaN or infinite"),
    (array("d", [1e300]), {}, "NaN or infinite"),
    (array("f", [1.5]), {}, "between -1 and 1"),
    (array("f", [-32768.0]), {}, "between -1 and 1"),
    (b"12", {"format": "mp3"}, "'pcm16' or 'f32'"),
    (b"12", {"sample_rate": 0}, "between 1000"),
    (b"12", {"sample_rate": 44_100.5}, "whole number"),
    (b"12", {"sample_rate": True}, "whole number"),
]


@pytest.mark.parametrize(("sound", "how", "says"), _BAD, ids=lambda value: str(value)[:30])
def test_what_is_no_sound_is_refused_and_leaves_nothing_behind(sound: Any, how: dict[str, Any], says: str) -> None:
    maker = UnitMaker()
    list(maker.push(array("f", [0.25])))
    with pytest.raises(InvalidInputError, match=says):
        list(maker.push(sound, **how))
    (unit,) = maker.flush()
    assert unit == array("f", [0.25, *[0.0] * 15_999]).tobytes()


def test_bad_samples_across_a_cut_are_found() -> None:
    maker = UnitMaker()
    data = array("f", [0.5, math.nan]).tobytes()
    list(maker.push(data[:6], format="f32"))
    with pytest.raises(InvalidInputError, match="NaN"):
        list(maker.push(data[6:], format="f32"))


def test_a_sample_that_is_cut_off_is_an_error_at_the_end_and_before_another_kind() -> None:
    maker = UnitMaker()
    list(maker.push(b"123"))
    with pytest.raises(InvalidInputError, match="inside of a sample"):
        list(maker.push(array("f", [0.5])))
    with pytest.raises(InvalidInputError, match="1 bytes are left over"):
        maker.flush()
    assert len(maker.flush()) == 1  # the whole sample before it


def test_what_waits_can_be_forgotten() -> None:
    maker = UnitMaker()
    list(maker.push(_tone(16_000, 0.5)))
    assert maker.pending == 8000
    maker.clear()
    assert (maker.pending, maker.flush()) == (0, [])


@given(st.binary(max_size=400).filter(lambda data: len(data) % 2 == 0))
def test_pcm16_comes_back_bit_by_bit(data: bytes) -> None:
    assert f32_to_pcm16(pcm16_to_f32(data)) == data


def test_what_goes_beyond_full_scale_is_kept_within_16_bits() -> None:
    floats = array("f", [1.0, 1.2, -1.0, -7.0, 0.00001])
    assert array("h", f32_to_pcm16(floats.tobytes())).tolist() == [32767, 32767, -32768, -32768, 0]


@pytest.mark.parametrize("data", [b"123", array("f", [math.nan]).tobytes()])
def test_speech_that_is_no_samples_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        f32_to_pcm16(data)


def test_a_wav_file_holds_the_speech(tmp_path: Path) -> None:
    tone = _tone(24_000, 0.5).tobytes()
    path = tmp_path / "answer.wav"
    with WavWriter(path) as writer:
        writer.write(tone[:4000])
        writer.write(tone[4000:])
    for file in (str(path), io.BytesIO(to_wav(tone))):
        with wave.open(file, "rb") as found:
            assert found.getparams()[:4] == (1, 2, 24_000, 12_000)
            assert found.readframes(12_000) == f32_to_pcm16(tone)
    assert seconds(tone) == 0.5


def test_a_file_that_was_given_stays_open() -> None:
    file = io.BytesIO()
    writer = WavWriter(file, sample_rate=16_000)
    writer.close()
    writer.close()
    assert file.getvalue()[:4] == b"RIFF"
