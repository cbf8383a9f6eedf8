"""Pictures and sound for the questions of a chat: from whatever a program has to what a server takes.

Here nothing has to fit into units of a second: a recording is sent as long as it is, and a picture in the size that the
model can make use of.
"""

from __future__ import annotations

import io
import os
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from minicpm_core.errors import InvalidInputError, InvalidMediaError
from minicpm_core.media.images import load_image
from minicpm_core.media.read import opened
from minicpm_core.media.sources import from_path, image_from_path
from minicpm_core.parts import AudioSource
from minicpm_core.realtime import samples
from minicpm_core.realtime.audio import as_floats
from minicpm_core.realtime.events import INPUT_RATE
from minicpm_core.realtime.frames import picture_source
from minicpm_core.realtime.recordings import read_sound
from minicpm_core.realtime.resample import Resampler

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from minicpm_core.parts import ImageSource
    from minicpm_core.realtime.audio import SampleFormat

PictureDetail: TypeAlias = Literal["auto", "low", "original"]
"""How many pixels of a picture are sent: as many as the model can see, 448² at most, or all."""

_ACCEPTED = frozenset({"image/jpeg", "image/png"})


class Prepared:
    """What a part of a question holds. It is made when it is first asked for, which may take a while, and then kept.

    Args:
        make: Makes it, as base64.
    """

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make

    @cached_property
    def base64(self) -> str:
        """The content.

        Raises:
            InvalidInputError: It cannot be sent.
            ConfigurationError: It needs a library that is not installed.
        """
        return self._make()


def picture(image: Any, *, detail: PictureDetail) -> Prepared:
    """A picture, as JPEG or PNG.

    Args:
        image: A `pathlib.Path`, bytes of a file, a Pillow image, or an array of height, width and 3 colours in uint8.
        detail: How many of its pixels are sent.

    Raises:
        InvalidMediaError: It is none of these.
        ConfigurationError: Pillow is not installed, and is needed for it.
    """
    if isinstance(image, str):
        raise InvalidMediaError(
            "A picture is not taken from a text: give bytes, or a pathlib.Path if it is a file of the program's own."
        )
    if detail not in get_args(PictureDetail):
        raise InvalidInputError(f"detail must be one of {', '.join(get_args(PictureDetail))}, not {detail!r:.40}.")
    source = image_from_path(image) if _is_path(image) else picture_source(image)
    return Prepared(partial(_encoded, source, detail))


def recording(audio: Any, *, format: SampleFormat | None, sample_rate: int | None) -> Prepared:  # noqa: A002 - as there
    """A recording, as float32 at 16 kHz.

    Args:
        audio: A `pathlib.Path` or the bytes of a WAV file; bare samples as bytes or as an array, one channel.
        format: What bare samples are; `None` for `pcm16`.
        sample_rate: Bare samples a second; `None` for 16,000.

    Raises:
        InvalidInputError: It is none of these, or holds samples that are NaN, infinite or beyond ±1.
    """
    if isinstance(audio, str):
        raise InvalidInputError("Sound is not taken from a text: give samples, or a pathlib.Path to a file.")
    is_file = _is_path(audio) or (format is None and _is_wav(audio))
    if is_file and (format is not None or sample_rate is not None):
        raise InvalidInputError("A sound file says itself what it holds: leave out format and sample_rate.")
    if is_file:
        return Prepared(partial(_of_file, audio))
    rate = INPUT_RATE if sample_rate is None else sample_rate
    floats = as_floats(audio, format)
    Resampler(rate)  # so that an impossible rate is told at once
    if not floats:
        raise InvalidInputError("The sound is empty.")
    return Prepared(partial(_resampled, floats, rate))


def _is_path(value: Any) -> bool:
    return isinstance(value, os.PathLike)


def _is_wav(audio: Any) -> bool:
    return isinstance(audio, bytes | bytearray) and audio[:4] == b"RIFF" and audio[8:12] == b"WAVE"


def _encoded(source: ImageSource, detail: PictureDetail) -> str:
    (part,) = load_image(source, accept=_ACCEPTED, detail=detail)
    return samples.Base64(part.base64, "ascii")


def _of_file(audio: Any) -> str:
    if _is_path(audio):
        with opened(from_path(AudioSource, audio)) as (label, file):
            found = read_sound(file, label=label)
    else:
        found = read_sound(io.BytesIO(audio), label="The sound")
    return _resampled(samples.floats_of_pcm16(found.pcm), found.rate)


def _resampled(floats: array[float], rate: int) -> str:
    resampler = Resampler(rate)
    heard = resampler.push(floats)
    return samples.base64_text(samples.to_bytes(heard + resampler.flush()))
