"""Recordings in files, as 16-bit samples of one channel. Without PyAV, plain WAV files are read."""

from __future__ import annotations

import io
import math
import sys
import wave
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import audio
from minicpm_core.media.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Sound:
    """A recording.

    Attributes:
        pcm: 16-bit samples in little-endian order, one channel.
        rate: Samples a second.
    """

    pcm: bytes = field(repr=False)
    rate: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.pcm) / 2 / self.rate


def read_sound(file: BinaryIO, *, label: str) -> Sound:
    """A recording: a WAV file of any rate and any number of channels; with the extra `[media]`, any other file.

    Args:
        file: Open, and seekable.
        label: What to call it in an error.

    Raises:
        InvalidMediaError: It is no recording, or broken, or empty, or longer than 35 minutes.
        ConfigurationError: It is no plain WAV file, and PyAV is not installed.
    """
    riff = file.read(4) == b"RIFF"
    file.seek(0)
    if not riff:
        return _decoded(file, label)
    try:
        with wave.open(file, "rb") as wav:
            channels, width, rate = wav.getnchannels(), wav.getsampwidth(), wav.getframerate()
            most = math.ceil(audio.longest_seconds(DEFAULT_LIMITS) * rate) + 1
            data = wav.readframes(min(wav.getnframes(), most))  # a few bytes at a low rate would become gigabytes
    except (wave.Error, EOFError):
        file.seek(0)
        return _decoded(file, label)  # float samples, which the module `wave` does not know
    if not data or width not in _TO_16_BITS or rate < 1:
        raise InvalidMediaError(f"{label} holds no sound that can be read.")
    audio.check_seconds(len(data) / (width * channels) / rate, DEFAULT_LIMITS, label)
    return Sound(_mixed(_TO_16_BITS[width](data), channels), rate)


def _decoded(file: BinaryIO, label: str) -> Sound:
    """By PyAV."""
    found = audio.to_wav(file, limits=DEFAULT_LIMITS, label=label)
    with wave.open(io.BytesIO(found.data), "rb") as wav:
        return Sound(wav.readframes(wav.getnframes()), wav.getframerate())


def _mixed(data: bytes, channels: int) -> bytes:
    """One channel: the mean of all."""
    data = data[: len(data) - len(data) % (2 * channels)]
    if channels == 1:
        return data
    samples = array("h", data)
    if sys.byteorder == "big":
        samples.byteswap()
    mixed = array("h", (sum(one) // channels for one in zip(*(samples[at::channels] for at in range(channels)))))  # noqa: B905 - cut above
    if sys.byteorder == "big":
        mixed.byteswap()
    return mixed.tobytes()


def _upper(data: bytes, width: int) -> bytes:
    """The upper two bytes of each sample."""
    data = data[: len(data) - len(data) % width]
    found = bytearray(2 * (len(data) // width))
    found[0::2], found[1::2] = data[width - 2 :: width], data[width - 1 :: width]
    return bytes(found)


def _of_8_bits(data: bytes) -> bytes:
    """Unsigned, with the zero in the middle."""
    found = bytearray(2 * len(data))
    found[1::2] = bytes(byte ^ 0x80 for byte in data)
    return bytes(found)


_TO_16_BITS: Mapping[int, Callable[[bytes], bytes]] = {
    1: _of_8_bits,
    2: lambda data: data,
    3: lambda data: _upper(data, 3),
    4: lambda data: _upper(data, 4),
}
"""By bytes of a sample."""
