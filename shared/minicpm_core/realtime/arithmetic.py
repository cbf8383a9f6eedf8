"""Sums over many samples: by numpy where it is installed, and by `array` and `map` where it is not.

Nothing else here needs numpy, and a microphone is served well without it: a second of sound takes a few milliseconds,
or 40 at 48 kHz.  Where many sessions run, numpy takes a tenth of that.  Both give the same bits, but for the last one
of what was resampled.
"""

from __future__ import annotations

import math
import sys
from array import array
from functools import cache
from itertools import repeat
from operator import mul
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_SWAPPED = sys.byteorder == "big"
_PCM16_SCALE = 32768.0
_PCM16_MOST, _PCM16_LEAST = 32767, -32768


class Wanted(NamedTuple):
    """Samples of another rate. The n-th lies `n * down / up` samples of the old rate behind the first of them.

    Attributes:
        first: The number of the first one.
        last: The number behind the last one.
        up: Samples of the new rate, in the time of
        down: so many of the old one.
        phases: Steps from one old sample to the next, to which new ones are rounded.
        offset: Where the sum begins among those that wait, for a sample that lies on the first old one.
    """

    first: int
    last: int
    up: int
    down: int
    phases: int
    offset: int


class Arithmetic(Protocol):
    """What is calculated with samples."""

    def peak(self, floats: array[float]) -> float:
        """The largest magnitude; NaN or infinite where a sample is, and 0 where there is none."""
        ...

    def energy(self, floats: array[float]) -> float:
        """The sum of the squares."""
        ...

    def from_pcm16(self, data: bytes) -> array[float]:
        """16-bit PCM in little-endian order as numbers: a sample divided by 32768, which is exact."""
        ...

    def to_pcm16(self, floats: array[float]) -> bytes:
        """The opposite: times 32768, rounded, kept within 16 bits. The samples are finite."""
        ...

    def row(self, taps: list[float]) -> Any:
        """Taps in the form in which `filtered` wants them."""
        ...

    def filtered(self, waiting: array[float], wanted: Wanted, row: Callable[[int], Any]) -> array[float]:
        """Samples of another rate: for each, the sum of what waits around it, each multiplied by its tap.

        Args:
            waiting: Samples.
            wanted: Which samples to make.
            row: Gives the taps for each step, all of one length.
        """
        ...


class PlainArithmetic:
    """With what Python brings along."""

    def peak(self, floats: array[float]) -> float:
        """See `Arithmetic`. A sum of float32 numbers in double precision cannot overflow."""
        if not floats:
            return 0.0
        total = sum(floats)
        low, high = min(floats), max(floats)
        return max(high, -low) if math.isfinite(total) else total

    def energy(self, floats: array[float]) -> float:
        """See `Arithmetic`."""
        return sum(map(mul, floats, floats), 0.0)

    def from_pcm16(self, data: bytes) -> array[float]:
        """See `Arithmetic`."""
        whole = array("h", data)
        if _SWAPPED:
            whole.byteswap()
        return array("f", map((1 / _PCM16_SCALE).__mul__, whole))

    def to_pcm16(self, floats: array[float]) -> bytes:
        """See `Arithmetic`."""
        scaled = map(round, map(_PCM16_SCALE.__mul__, floats))
        whole = array("h", map(max, repeat(_PCM16_LEAST), map(min, repeat(_PCM16_MOST), scaled)))
        if _SWAPPED:
            whole.byteswap()
        return whole.tobytes()

    def row(self, taps: list[float]) -> list[float]:
        """See `Arithmetic`."""
        return taps

    def filtered(self, waiting: array[float], wanted: Wanted, row: Callable[[int], Any]) -> array[float]:
        """See `Arithmetic`."""
        first, last, up, down, phases, offset = wanted
        numbers = waiting.tolist()  # once: a slice of an array makes its numbers anew
        out = array("f")
        for number in range(first, last):
            base, phase = divmod(number * down, up)
            taps = row(round(phase * phases / up))
            at = base + offset
            out.append(sum(map(mul, taps, numbers[at : at + len(taps)])))
        return out


class NumpyArithmetic:
    """With numpy.

    Args:
        numpy: The module.
    """

    def __init__(self, numpy: Any) -> None:
        self._np = numpy

    def peak(self, floats: array[float]) -> float:
        """See `Arithmetic`."""
        if not floats:
            return 0.0
        given = self._np.frombuffer(floats, "f4")
        with self._np.errstate(invalid="ignore"):  # NaN is an answer, and not for every processor without a warning
            low, high = float(given.min()), float(given.max())
        return max(high, -low)

    def energy(self, floats: array[float]) -> float:
        """See `Arithmetic`."""
        given = self._np.frombuffer(floats, "f4").astype("f8")
        return float(given @ given)

    def from_pcm16(self, data: bytes) -> array[float]:
        """See `Arithmetic`."""
        return self._array(self._np.frombuffer(data, "<i2") * self._np.float32(1 / _PCM16_SCALE))

    def to_pcm16(self, floats: array[float]) -> bytes:
        """See `Arithmetic`."""
        if not floats:
            return b""
        scaled = self._np.rint(self._np.frombuffer(floats, "f4") * _PCM16_SCALE)
        data: bytes = self._np.clip(scaled, _PCM16_LEAST, _PCM16_MOST).astype("<i2").tobytes()
        return data

    def row(self, taps: list[float]) -> Any:
        """See `Arithmetic`."""
        return self._np.asarray(taps)

    def filtered(self, waiting: array[float], wanted: Wanted, row: Callable[[int], Any]) -> array[float]:
        """See `Arithmetic`. One tap after the other, so that no sum depends on those beside it."""
        np = self._np
        given = np.frombuffer(waiting, "f4").astype("f8")
        first, last, up, down, phases, offset = wanted
        if first == last:
            return array("f")
        bases, phase = np.divmod(np.arange(first, last, dtype="i8") * down, up)
        steps, which = np.unique(np.rint(phase * phases / up).astype("i8"), return_inverse=True)
        rows = np.stack([row(int(step)) for step in steps])
        out = np.zeros(last - first)
        starts = bases + offset
        for number in range(rows.shape[1]):
            if up == 1:  # a slice is quicker than places
                out += given[starts[0] + number :: down][: len(out)] * rows[0, number]
            else:
                out += given[starts + number] * rows[which, number]
        return self._array(out)

    def _array(self, numbers: Any) -> array[float]:
        made = array("f")
        made.frombytes(numbers.astype("f4").tobytes())
        return made


@cache
def arithmetic() -> Arithmetic:
    """The better one of those that can be had."""
    try:
        import numpy as np
    except ImportError:
        return PlainArithmetic()
    return NumpyArithmetic(np)
