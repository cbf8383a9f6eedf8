"""Speech by formants, in pure Python: a buzz and some noise, through three resonators for each vowel.

After D. H. Klatt, "Software for a cascade/parallel formant synthesizer", JASA 67 (1980): the resonator's formula, and
Peterson and Barney (1952) for the vowels.  It can be told from silence, noise and music, and its syllables can be
counted; hardly more is promised.
"""

from __future__ import annotations

import itertools
import math
import re
from array import array
from functools import lru_cache

from minicpm_core.realtime.events import OUTPUT_RATE

_FORMANTS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
_BANDWIDTHS = (60, 90, 150)
_ONSETS = {**dict.fromkeys("ptkcq", "stop"), **dict.fromkeys("sfhxzv", "noise"), **dict.fromkeys("bdgjmnlrw", "soft")}
_CLOSED = {"stop": 0.03, "noise": 0.06, "soft": 0.04, "": 0.0}
"""Seconds before the vowel."""
_VOWEL = 0.11
_RATE = 8000
"""Samples a second while it is made: enough for three formants, and a third of the work."""
_SETTLED = 4
"""Periods after which a vowel repeats itself."""
_RAMP = 0.015
_PITCHES = (118, 126, 110)
"""Hz of the voice, syllable after syllable, so that it does not drone."""
_PEAK = 0.4
_DIGITS = dict(
    zip("0123456789", ("zero", "wan", "tu", "tri", "for", "faif", "siks", "seven", "et", "nain"), strict=True)
)
_SYLLABLE = re.compile(r"([^aeiou]*)([aeiou])")


def syllables(word: str) -> list[tuple[str, str]]:
    """The syllables of a word as its onset's kind and its vowel; digits are read out."""
    spelled = "".join(_DIGITS.get(letter, letter) for letter in word.lower()).replace("y", "i")
    found = _SYLLABLE.findall(spelled)
    return [(_ONSETS.get(before[:1], ""), vowel) for before, vowel in found] or [("noise", "e")] * any(
        map(str.isalnum, word)
    )


@lru_cache(maxsize=128)
def syllable(onset: str, vowel: str, tone: int) -> array[float]:
    """A syllable: float numbers at 24 kHz.

    Args:
        onset: `stop`, `noise`, `soft` or nothing.
        vowel: One of a, e, i, o, u.
        tone: Chooses the pitch.
    """
    period = round(_RATE / _PITCHES[tone % len(_PITCHES)])
    source = array("f", _onset(onset, int(_CLOSED[onset] * _RATE), period)) + _voiced(_SETTLED * period, period)
    for centre, width in zip(_FORMANTS[vowel], _BANDWIDTHS, strict=True):
        source = _resonated(source, centre, width)
    steady = source[-period:]
    return _denser(_shaped(source + steady * (int(_VOWEL * _RATE) // period - _SETTLED)))


def silence(seconds: float) -> array[float]:
    """So much silence at 24 kHz."""
    return array("f", bytes(4 * int(seconds * OUTPUT_RATE)))


def _onset(kind: str, samples: int, period: int) -> list[float]:
    if kind == "noise":
        return _noise(samples, 0.3)
    if kind == "stop":
        burst = samples // 4
        return [0.0] * (samples - burst) + _noise(burst, 0.6)
    return [0.3 * sample for sample in _voiced(samples, period)]


def _noise(samples: int, strength: float) -> list[float]:
    """The same each time: a linear congruential generator's."""
    found: list[float] = []
    state = 12345
    for _ in range(samples):
        state = (1103515245 * state + 12345) & 0x7FFFFFFF
        found.append(strength * (state / 0x3FFFFFFF - 1))
    return found


def _voiced(samples: int, period: int) -> array[float]:
    """A glottal buzz: a rise and a sudden fall in each period."""
    one = array("f", ((at / period) ** 2 - 1 / 3 for at in range(period)))
    return (one * (samples // period + 1))[:samples]


def _resonated(source: array[float], centre: float, width: float) -> array[float]:
    third = -math.exp(-2 * math.pi * width / _RATE)
    second = 2 * math.exp(-math.pi * width / _RATE) * math.cos(2 * math.pi * centre / _RATE)
    first = 1 - second - third
    one = two = 0.0
    found = array("f", source)
    for at, sample in enumerate(source):
        one, two = first * sample + second * one + third * two, one
        found[at] = one
    return found


def _shaped(sound: array[float]) -> array[float]:
    """With soft ends, and of one loudness."""
    scale = _PEAK / (max(map(abs, sound)) or 1.0)
    ramp = int(_RAMP * _RATE)
    last = len(sound) - 1
    return array("f", (sample * scale * min(1.0, at / ramp, (last - at) / ramp) for at, sample in enumerate(sound)))


def _denser(sound: array[float]) -> array[float]:
    """At the rate of the output: straight lines between the samples."""
    found = array("f")
    step = OUTPUT_RATE // _RATE
    for before, after in itertools.pairwise((*sound, 0.0)):
        found.extend(before + (after - before) * at / step for at in range(step))
    return found
