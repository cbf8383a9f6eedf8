"""What the emulator hears of a second of sound: how loud it is, and the pitch that dominates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from minicpm_core.realtime.arithmetic import arithmetic
from minicpm_core.realtime.events import INPUT_RATE

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

SPEECH = -45.0
"""Level in dB below full scale above which a sound may be speech."""

_STEPS = (7, 11)
"""Loudness is measured on every seventh and every eleventh sample: no tone hides between both."""
_EXCERPT = 4000
_HYSTERESIS = 0.2
"""A rise counts after the sound was below zero by this share of its peak: overtones and noise are not counted."""
_LOUDNESS = ((SPEECH, "silent"), (-30.0, "quiet"), (-15.0, "of medium loudness"), (math.inf, "loud"))


def level(samples: array[float]) -> float:
    """RMS in dB below full scale; `-inf` for silence, and NaN where a sample is none."""
    some = samples[:: _STEPS[0]] + samples[:: _STEPS[1]]
    power = arithmetic().energy(some) / len(some) if some else 0.0
    if not math.isfinite(power):
        return math.nan
    return 10 * math.log10(power) if power else -math.inf


def loudness(decibels: float) -> str:
    """A level in words."""
    return next(words for bound, words in _LOUDNESS if decibels < bound)


def pitch(samples: array[float]) -> float | None:
    """The frequency in Hz that dominates the loudest quarter of a second; `None` where nothing repeats."""
    starts = range(0, max(len(samples) - _EXCERPT, 0) + 1, _EXCERPT)
    excerpt = max((samples[start : start + _EXCERPT] for start in starts), key=level)
    rises = _rises(excerpt)
    if len(rises) < 3:  # noqa: PLR2004 - two periods at least
        return None
    return INPUT_RATE * (len(rises) - 1) / (rises[-1] - rises[0])


def _rises(excerpt: Sequence[float]) -> list[float]:
    """Places, in samples, where the sound rises through zero."""
    low = -_HYSTERESIS * max(map(abs, excerpt), default=0.0)
    found: list[float] = []
    armed, before = False, 0.0
    for at, now in enumerate(excerpt):
        if armed and before < 0 <= now:
            found.append(at - now / (now - before))
            armed = False
        armed = armed or now < low
        before = now
    return found
