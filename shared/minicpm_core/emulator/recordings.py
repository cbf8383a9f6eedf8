"""What the emulator hears of a recording: its length, its loudness, and the pitch of a clear tone."""

from __future__ import annotations

import io
import itertools
import math
import statistics
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicpm_core.emulator.loading import refusing
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.media import audio, containers
from minicpm_core.media.limits import DEFAULT_LIMITS
from minicpm_core.parts import AudioPart
from minicpm_core.protocol.estimate import part_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minicpm_core.emulator.dialects import Dialect

_LABEL = "The recording"
_FULL_SCALE = 32_768
_MOST_SAMPLES = 200_000
"""Loudness is measured on at most this many samples, evenly spread."""
_SILENT = -60.0
_LOUDNESS = ((_SILENT, "silent"), (-30.0, "quiet"), (-15.0, "of medium loudness"), (math.inf, "loud"))
"""Upper bound of the level (dBFS), words."""

_EXCERPTS = 5
_EXCERPT = audio.RATE // 4
_LEAST_PERIODS = 8
_STEADY = 0.05
"""How far the lengths of a tone's periods may stray (their standard deviation by their mean)."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What was measured.

    Attributes:
        seconds: How long it is.
        rate: Samples a second of the file.
        file_format: Such as `WAV`.
        level: Mean level in dB below full scale (a square wave has 0); `-inf` for digital silence.
        pitch: Hz of the tone that most of it has; `None` where there is no clear one.
        tokens: What it costs in the prompt.
    """

    seconds: float
    rate: int
    file_format: str
    level: float
    pitch: float | None
    tokens: int

    @property
    def loudness(self) -> str:
        """The level in words."""
        return next(words for bound, words in _LOUDNESS if self.level < bound)


def listen(data: bytes, dialect: Dialect, model: str) -> Recording:
    """Decode and measure a recording.

    Args:
        data: The file.
        dialect: Decides which file formats are taken.
        model: Whose token formula counts.

    Raises:
        Refusal: It is no recording, of a format that this kind of server does not decode, or broken.
    """
    kind = containers.identify(data)
    name = _NAMES.get(kind.media_type) if kind else None
    if kind is not None and name not in dialect.loader.audio_types:
        raise Refusal("bad_audio", f"Failed to load audio: {dialect.title} does not take {kind.name}.")
    file = io.BytesIO(data)
    with refusing("audio"):
        wav = audio.to_wav(file, limits=DEFAULT_LIMITS, label=_LABEL)
        rate = audio.RATE if wav.data == data else _rate(file)
    samples = _samples(wav.data)
    level = _level(samples[:: -(-len(samples) // _MOST_SAMPLES)])
    return Recording(
        seconds=wav.seconds,
        rate=rate,
        file_format=str(name).upper(),
        level=level,
        pitch=None if level < _SILENT else _pitch(samples),
        # The same count as the client's, so that the two can be compared to the token.
        tokens=part_tokens(AudioPart(b"", wav.format, wav.seconds), model),
    )


_NAMES = {"audio/wav": "wav", "audio/mpeg": "mp3", "audio/flac": "flac"}


def _rate(file: io.BytesIO) -> int:
    with containers.opened(file, wanted="audio", label=_LABEL) as container:
        return container.streams.audio[0].rate


def _samples(wav: bytes) -> array[int]:
    """The samples of a 16-bit mono WAV, as `to_wav` gives it, whose headers the module `wave` may not know."""
    at = 12
    while wav[at : at + 4] != b"data":
        length = int.from_bytes(wav[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    length = int.from_bytes(wav[at + 4 : at + 8], "little")
    samples = array("h", wav[at + 8 : at + 8 + length])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _level(samples: Sequence[int]) -> float:
    """RMS in dBFS."""
    power = sum(sample * sample for sample in samples) / len(samples) / _FULL_SCALE**2
    return 10 * math.log10(power) if power else -math.inf


def _pitch(samples: array[int]) -> float | None:
    """The pitch that most of some excerpts agree on having: the median of those with a clear tone."""
    spread = range(0, max(len(samples) - _EXCERPT, 0) + 1, max((len(samples) - _EXCERPT) // (_EXCERPTS - 1), 1))
    starts = list(spread)[:_EXCERPTS]
    tones = [tone for start in starts if (tone := _tone(samples[start : start + _EXCERPT])) is not None]
    return statistics.median_low(tones) if 2 * len(tones) > len(starts) else None


def _tone(excerpt: Sequence[int]) -> float | None:
    """The pitch of an excerpt in which all periods have one length, by where it rises through zero."""
    if _level(excerpt) < _SILENT:
        return None
    periods = [after - before for before, after in itertools.pairwise(_rises(excerpt))]
    if len(periods) < _LEAST_PERIODS:
        return None
    mean = statistics.fmean(periods)
    return audio.RATE / mean if statistics.pstdev(periods, mean) <= _STEADY * mean else None


def _rises(excerpt: Sequence[int]) -> Iterator[float]:
    """Places, in samples, between which the sound rises through zero."""
    for at, (before, after) in enumerate(itertools.pairwise(excerpt)):
        if before < 0 <= after:
            yield at - before / (after - before)
