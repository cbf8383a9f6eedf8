"""A recording from a file, as 16-bit samples of one channel; and pictures to go with it."""

from __future__ import annotations

import sys
import wave
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minicpm_core.errors import InvalidMediaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_MOST_FRAMES = 300
"""Of a video: as many seconds as a session with video may last."""
_VIDEOS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})


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


def read_sound(path: Path) -> Sound:
    """A recording: a WAV file of any rate and any number of channels; with the extra `[media]`, any other file.

    Raises:
        InvalidMediaError: It is no recording, or broken, or empty.
        ConfigurationError: It is no plain WAV file, and PyAV is not installed.
    """
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return _decoded(path)
    try:
        with wave.open(str(path), "rb") as wav:
            channels, width, rate = wav.getnchannels(), wav.getsampwidth(), wav.getframerate()
            data = wav.readframes(wav.getnframes())
    except (wave.Error, EOFError):
        return _decoded(path)  # float samples, which the module `wave` does not know
    if not data or width not in _TO_16_BITS or rate < 1:
        raise InvalidMediaError(f"{path.name} holds no sound that can be read.")
    return Sound(_mixed(_TO_16_BITS[width](data), channels), rate)


def read_pictures(paths: Sequence[Path]) -> list[bytes]:
    """Pictures, one for each second: files of their own, or a video's, one a second.

    Raises:
        InvalidMediaError: It is no picture and no video.
        ConfigurationError: A video, and PyAV is not installed.
    """
    return [picture for path in paths for picture in (_of_video(path) if _is_video(path) else [path.read_bytes()])]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in _VIDEOS


def _of_video(path: Path) -> list[bytes]:
    from minicpm_core.media.limits import DEFAULT_LIMITS
    from minicpm_core.media.video import sample_frames, to_jpegs
    from minicpm_core.parts import VideoSampling

    with path.open("rb") as file:
        frames = sample_frames(
            file, VideoSampling(fps=1.0, num_frames=_MOST_FRAMES), limits=DEFAULT_LIMITS, label=path.name
        )
    return to_jpegs(frames)


def _decoded(path: Path) -> Sound:
    """By PyAV."""
    import io

    from minicpm_core.media import audio
    from minicpm_core.media.limits import DEFAULT_LIMITS

    with path.open("rb") as file:
        found = audio.to_wav(file, limits=DEFAULT_LIMITS, label=path.name)
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
