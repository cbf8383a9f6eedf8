"""Sound in, of any kind and cut anyhow: out come units of exactly 16,000 samples.

The model takes its sound by the second: a unit that is shorter or longer is not what it was trained on. However a
recording is cut into pieces, the same units come of it.
"""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from minicpm_core.errors import InvalidInputError
from minicpm_core.realtime import samples
from minicpm_core.realtime.events import INPUT_RATE, UNIT_SAMPLES
from minicpm_core.realtime.resample import Resampler

if TYPE_CHECKING:
    from collections.abc import Iterator

SampleFormat: TypeAlias = Literal["pcm16", "f32"]
"""16-bit PCM, or float32 between -1 and 1; both in little-endian order, one channel."""

UNIT_BYTES = UNIT_SAMPLES * samples.F32_BYTES

_WIDTHS = {"pcm16": samples.PCM16_BYTES, "f32": samples.F32_BYTES}
_ORDERS = {"@", "=", "<" if sys.byteorder == "little" else ">"}
_SLICE = 64_000
"""Bytes that are converted in one go, so that an event loop gets its turn between them."""


class UnitMaker:
    """Turns sound into units.

    The format and the rate may change from one piece to the next; what a rate leaves over is completed with silence.
    """

    def __init__(self) -> None:
        self._format: SampleFormat = "f32"
        self._resampler = Resampler(INPUT_RATE)
        self._rate = INPUT_RATE
        self._cut = b""
        self._unit = bytearray()

    def push(
        self,
        sound: Any,
        *,
        format: SampleFormat | None = None,  # noqa: A002 - the word of this trade
        sample_rate: int = INPUT_RATE,
    ) -> Iterator[bytes]:
        """Take a piece of sound, and give the units that it completes, one by one as they are asked for.

        They have to be asked for to the end: what is converted is what is asked for.

        Args:
            sound: Bytes, or anything with the buffer protocol: a numpy array or an `array` of int16, float32 or
                float64 in one dimension, or in two with one channel. Bytes may be cut inside of a sample.
            format: What bytes are; `None` for `pcm16`. What has a type of its own must be of it.
            sample_rate: Samples a second.

        Raises:
            InvalidInputError: It is something else, has several channels, or holds samples that are NaN, infinite or
                beyond ±1. Raised at once; nothing of the piece is kept then.
        """
        data, found = _as_bytes(sound, format)
        if found == "f32":
            joined = self._cut + data if self._format == found else data
            samples.check_f32(joined[: len(joined) - len(joined) % samples.F32_BYTES])
        leftover = self._change(found, sample_rate)
        return self._units(leftover, data)

    def flush(self) -> list[bytes]:
        """The rest, completed with silence: one unit, or two where a resampler was holding some back, or none.

        Raises:
            InvalidInputError: The last sample is cut off. It is dropped.
        """
        cut, self._cut = self._cut, b""
        if cut:
            raise InvalidInputError(f"The sound ends inside of a sample: {len(cut)} bytes are left over.")
        self._unit += samples.to_bytes(self._resampler.flush())
        if self._unit:
            self._unit += bytes(-len(self._unit) % UNIT_BYTES)
        return list(self._complete())

    def complete(self) -> list[bytes]:
        """As `flush`, but a sample that is cut off stays, and is completed by what follows."""
        cut, self._cut = self._cut, b""
        units = self.flush()
        self._cut = cut
        return units

    @property
    def pending(self) -> int:
        """Samples at 16 kHz that wait for their unit to be complete."""
        return len(self._unit) // samples.F32_BYTES

    @property
    def begun(self) -> bool:
        """Whether sound waits for its unit to be complete; a resampler may hold it."""
        return bool(self._unit) or self._resampler.holds

    def clear(self) -> None:
        """Forget what waits."""
        self._cut = b""
        self._unit.clear()
        self._resampler.flush()

    def _change(self, format: SampleFormat, sample_rate: int) -> bytes:  # noqa: A002 - as above
        """Get ready for another format or rate. Gives what the old rate leaves over."""
        resampler = self._resampler if sample_rate == self._rate else Resampler(sample_rate)
        if self._cut and (format != self._format or resampler is not self._resampler):
            raise InvalidInputError("The sound before ends inside of a sample, and this is of another kind.")
        leftover = b""
        if resampler is not self._resampler:
            leftover = samples.to_bytes(self._resampler.flush())
        self._format, self._rate, self._resampler = format, sample_rate, resampler
        return leftover

    def _units(self, leftover: bytes, data: bytes) -> Iterator[bytes]:
        self._unit += leftover
        data = self._cut + data
        end = len(data) - len(data) % _WIDTHS[self._format]
        self._cut = data[end:]
        convert = samples.floats_of_pcm16 if self._format == "pcm16" else samples.to_floats
        for at in range(0, end, _SLICE):
            floats = self._resampler.push(convert(data[at : min(at + _SLICE, end)]))
            self._unit += samples.to_bytes(floats)
            yield from self._complete()

    def _complete(self) -> Iterator[bytes]:
        while len(self._unit) >= UNIT_BYTES:
            unit = bytes(self._unit[:UNIT_BYTES])
            del self._unit[:UNIT_BYTES]
            yield unit


def as_floats(sound: Any, format: SampleFormat | None) -> array[float]:  # noqa: A002 - as above
    """Whole samples as numbers.

    Raises:
        InvalidInputError: As `UnitMaker.push`, or the last sample is cut off.
    """
    data, found = _as_bytes(sound, format)
    if len(data) % _WIDTHS[found]:
        raise InvalidInputError("The sound ends inside of a sample.")
    if found == "pcm16":
        return samples.floats_of_pcm16(data)
    samples.check_f32(data)
    return samples.to_floats(data)


def _as_bytes(sound: Any, format: SampleFormat | None) -> tuple[bytes, SampleFormat]:  # noqa: A002 - as above
    """The samples as bytes, and what they are."""
    if format not in {None, *_WIDTHS}:
        raise InvalidInputError(f"format must be 'pcm16' or 'f32', not {cast('Any', format)!r:.40}.")
    if isinstance(sound, bytes | bytearray):
        return bytes(sound), format or "pcm16"
    try:
        view = memoryview(sound)
    except (TypeError, ValueError, BufferError):
        raise InvalidInputError(f"Sound is bytes or an array of samples, not {type(sound).__name__}.") from None
    if view.ndim != 1 and not (view.ndim == 2 and view.shape is not None and 1 in view.shape):  # noqa: PLR2004
        raise InvalidInputError(f"The sound has the shape {view.shape}; give one channel.")
    if view.format in {"B", "b", "c"}:
        return view.tobytes(), format or "pcm16"
    data, found = _typed(view)
    if format not in {None, found}:
        raise InvalidInputError(f"The samples are {found}, but format is {format!r}.")
    return data, found


def _typed(view: memoryview[Any]) -> tuple[bytes, SampleFormat]:
    """Of what knows its own type."""
    order, code = view.format[:-1], view.format[-1]
    if order and order not in _ORDERS:
        raise InvalidInputError("The samples are in the other byte order; give them in the order of this machine.")
    data = view.tobytes()
    if code == "h":
        return _little(data, samples.PCM16_BYTES), "pcm16"
    if code == "f":
        return _little(data, samples.F32_BYTES), "f32"
    if code == "d":
        return samples.to_bytes(array("f", array("d", data))), "f32"
    raise InvalidInputError(f"Samples are int16, float32 or float64, not of the type {view.format!r}.")


def _little(data: bytes, width: int) -> bytes:
    """In little-endian order, from the machine's own."""
    if sys.byteorder == "little":
        return data
    swapped = array("h" if width == samples.PCM16_BYTES else "f", data)
    swapped.byteswap()
    return swapped.tobytes()
