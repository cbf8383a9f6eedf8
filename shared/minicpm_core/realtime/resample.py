"""Other sample rates to the 16,000 a second that the model hears.

A windowed sinc in polyphase form, which numpy calculates where it is installed; see `arithmetic`. Linear
interpolation would be cheaper, but folds what a microphone hears above 8 kHz (every s and f of a speaker) down into the
speech, and the model cannot tell it from sound that was there.

The formulas: J. O. Smith, "Digital Audio Resampling", https://ccrma.stanford.edu/~jos/resample/. Each output sample is
the sum over the inputs around its time of `input * cutoff * sinc(cutoff * distance) * window`, the cut-off being the
lower one of the two Nyquist frequencies.
"""

from __future__ import annotations

import math
from array import array
from typing import Any

from minicpm_core.errors import InvalidInputError
from minicpm_core.realtime.arithmetic import Wanted, arithmetic
from minicpm_core.realtime.events import INPUT_RATE

LEAST_RATE, MOST_RATE = 1000, 768_000

_CROSSINGS = 8
"""Zero crossings of the sinc on each side: 7 kHz comes through, 9 kHz is 39 dB down and 10 kHz 65."""

_BETA = 6.0
"""Of the Kaiser window: a stop band of about 60 dB."""

_ROLL_OFF = 0.94
"""The cut-off, as a share of the Nyquist frequency, so that most of the transition lies below it."""

_MOST_PHASES = 1024
"""Rates that share a factor with 16,000 need fewer (44,100: 160); the others are taken to the nearest of so many."""


class Resampler:
    """Turns samples of one rate into samples of 16,000 a second. However the input is cut, the output is the same.

    Args:
        sample_rate: Samples a second of what comes in.

    Raises:
        InvalidInputError: It is no whole number from 1,000 to 768,000.
    """

    def __init__(self, sample_rate: int) -> None:
        if type(sample_rate) is not int:
            raise InvalidInputError(f"sample_rate must be a whole number, not {sample_rate!r:.40}.")
        if not LEAST_RATE <= sample_rate <= MOST_RATE:
            raise InvalidInputError(f"sample_rate must lie between {LEAST_RATE} and {MOST_RATE}, not {sample_rate}.")
        common = math.gcd(sample_rate, INPUT_RATE)
        self._up, self._down = INPUT_RATE // common, sample_rate // common
        self._phases = min(self._up, _MOST_PHASES)
        self._cutoff = _ROLL_OFF * min(1.0, INPUT_RATE / sample_rate)
        self._half = math.ceil(_CROSSINGS / self._cutoff)
        self._arithmetic = arithmetic()
        self._rows: dict[int, Any] = {}
        self._start()

    def _start(self) -> None:
        self._waiting = array("f", bytes(4 * (self._half - 1)))  # silence before the first sample
        self._first = 1 - self._half  # the number of the first sample that is waiting
        self._taken = 0
        self._given = 0

    @property
    def holds(self) -> bool:
        """Whether some of what was taken waits for what follows."""
        return self._taken > 0

    def push(self, floats: array[float]) -> array[float]:
        """Take samples, and give those that they complete."""
        if self._up == self._down:
            return floats
        self._waiting.extend(floats)
        self._taken += len(floats)
        return self._ready(self._first + len(self._waiting) - self._half)

    def flush(self) -> array[float]:
        """The rest, as if silence followed. What is pushed after it begins anew."""
        if self._up == self._down:
            return array("f")
        self._waiting.extend(array("f", bytes(4 * self._half)))
        rest = self._ready(self._taken)
        self._start()
        return rest

    def _ready(self, end: int) -> array[float]:
        """The outputs whose time lies before the input of number `end`."""
        up, down = self._up, self._down
        last = max(self._given, -(-end * up // down))
        offset = 1 - self._half - self._first
        wanted = Wanted(self._given, last, up, down, self._phases, offset)
        out = self._arithmetic.filtered(self._waiting, wanted, self._row)
        self._given = last
        used = (last * down) // up + offset
        if used > 0:
            del self._waiting[:used]
            self._first += used
        return _bounded(out)

    def _row(self, step: int) -> Any:
        """The filter for outputs that lie `step / phases` of a sample behind an input; kept, as they come round."""
        if step not in self._rows:
            shift = step / self._phases
            taps = [self._tap(place - shift) for place in range(1 - self._half, self._half + 1)]
            total = sum(taps)
            # So that silence and a constant stay what they are.
            self._rows[step] = self._arithmetic.row([tap / total for tap in taps])
        return self._rows[step]

    def _tap(self, distance: float) -> float:
        inside = 1.0 - (distance / self._half) ** 2
        if inside < 0:
            return 0.0
        angle = math.pi * self._cutoff * distance
        sinc = math.sin(angle) / angle if angle else 1.0
        return self._cutoff * sinc * _bessel(_BETA * math.sqrt(inside)) / _bessel(_BETA)


def _bessel(value: float) -> float:
    """The modified Bessel function of the first kind and order 0, by its series."""
    total = term = 1.0
    for number in range(1, 32):
        term *= (value / (2 * number)) ** 2
        total += term
    return total


def _bounded(floats: array[float]) -> array[float]:
    """Within ±1: a filter may swing a little beyond what it was given."""
    if arithmetic().peak(floats) <= 1.0:
        return floats
    return array("f", (min(1.0, max(-1.0, value)) for value in floats))
