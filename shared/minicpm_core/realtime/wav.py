"""The model's speech as a WAV file: 16 bits, one channel."""

from __future__ import annotations

import io
import os
import wave
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from minicpm_core.errors import InvalidInputError
from minicpm_core.realtime import samples
from minicpm_core.realtime.events import OUTPUT_RATE

if TYPE_CHECKING:
    from types import TracebackType


def to_wav(audio: bytes, *, sample_rate: int = OUTPUT_RATE) -> bytes:
    """A WAV file of 16-bit samples.

    Args:
        audio: Float32 in little-endian order, one channel, as `AudioDelta` has it.
        sample_rate: Samples a second.

    Raises:
        InvalidInputError: It is not made of float32 samples.
    """
    file = io.BytesIO()
    with WavWriter(file, sample_rate=sample_rate) as writer:
        writer.write(audio)
    return file.getvalue()


class WavWriter:
    """Writes a WAV file piece by piece; a context manager, which completes the header at its end.

    Args:
        file: A path, or a binary file that is open for writing; that one stays open. It must be seekable.
        sample_rate: Samples a second.
    """

    def __init__(self, file: str | os.PathLike[str] | BinaryIO, *, sample_rate: int = OUTPUT_RATE) -> None:
        self._own: BinaryIO | None = None
        if isinstance(file, str | os.PathLike):
            file = self._own = Path(file).open("wb")  # noqa: SIM115 - closed by `close`
        self._wav = wave.open(file, "wb")  # noqa: SIM115 - as above
        self._wav.setparams((1, samples.PCM16_BYTES, sample_rate, 0, "NONE", ""))

    def write(self, audio: bytes) -> None:
        """Add a piece.

        Args:
            audio: Float32 in little-endian order; kept within ±1.

        Raises:
            InvalidInputError: It is not made of float32 samples.
        """
        self._wav.writeframesraw(samples.f32_to_pcm16(audio))

    def close(self) -> None:
        """Complete the header. More than once does nothing more."""
        self._wav.close()
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def seconds(audio: bytes, *, sample_rate: int = OUTPUT_RATE) -> float:
    """How long float32 samples last.

    Raises:
        InvalidInputError: A sample is cut off.
    """
    if len(audio) % samples.F32_BYTES:
        raise InvalidInputError("The audio is no whole number of float32 samples.")
    return len(audio) / samples.F32_BYTES / sample_rate
