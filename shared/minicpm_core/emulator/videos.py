"""What the emulator sees of a video: it decodes the frames that the imitated server would take, and measures them."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.colours import shares
from minicpm_core.emulator.fields import bad_value, wrong_type
from minicpm_core.emulator.loading import decoded, refusing
from minicpm_core.emulator.pictures import Picture, measured, opened
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.emulator.values import as_object, is_integer, is_number
from minicpm_core.media import containers
from minicpm_core.media.limits import DEFAULT_LIMITS
from minicpm_core.media.video import sample_frames
from minicpm_core.parts import FramesPart, VideoSampling
from minicpm_core.protocol.estimate import part_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from minicpm_core.backends import Backend
    from minicpm_core.emulator.values import Object

_LABEL = "The video"
_FRAMES = 32
"""What vLLM's loader takes unless the request says otherwise (`VideoMediaIO`)."""
_FASTEST = 240.0
"""Frames a second at which a clip is looked for frames where no rate is asked: all that it has, up to their number."""
_SLOWEST = 1 / 86_400
"""One frame a day."""
_MOST_FRAMES = 10**9
_WHOLE = DEFAULT_LIMITS.max_pixels
_SIDE = 128
"""Frames are kept as copies of at most this many pixels a side, since only their colours are measured."""
_TINY = (16, 16)


@dataclass(frozen=True, slots=True)
class Video:
    """What was measured.

    Attributes:
        frames: How many were taken.
        width: Pixels of a frame, as the server gets it.
        height: Pixels of a frame, as the server gets it.
        seconds: How long the file says it lasts; `None` for a list of frames, which does not say it.
        looks: The first, the middle and the last frame, measured on small copies.
        colour: The main colour of all frames together.
        tokens: What it costs in the prompt.
    """

    frames: int
    width: int
    height: int
    seconds: float | None
    looks: tuple[Picture, Picture, Picture]
    colour: str
    tokens: int


def sampling_of(fields: Object, inner: Object, param: str, backend: Backend) -> VideoSampling:
    """How the frames of a video are to be taken: what the request says where the server reads it, or vLLM's default.

    Args:
        fields: The request.
        inner: The `video_url` of the part.
        param: Its path, for a refusal.
        backend: Tells where the server reads it.

    Raises:
        Refusal: A number of frames is not a whole number from 1 on, or a rate is not above 0.
    """
    given: Object = {}
    most = "num_frames"
    if backend.video_sampling == "video_url":
        given, most = inner, "max_frames"
    elif backend.video_sampling == "media_io_kwargs":
        param = "media_io_kwargs"
        given = _member(_member(fields, param, param), "video", f"{param}.video")
        param = "media_io_kwargs.video"
    number, fps = given.get(most), given.get("fps")
    if number is not None and not is_integer(number):
        raise wrong_type(f"{param}.{most}", number, "integer")
    if number is not None and number < 1:
        raise bad_value(f"{param}.{most}", number, f"{most} must be at least 1, got {number}.")
    if fps is not None and not is_number(fps):
        raise wrong_type(f"{param}.fps", fps, "number")
    if fps is not None and not 0 < fps < math.inf:
        raise bad_value(f"{param}.fps", fps, f"fps must be above 0, got {fps}.")
    return VideoSampling(
        fps=min(max(fps or _FASTEST, _SLOWEST), _FASTEST),
        num_frames=min(number or _FRAMES, _MOST_FRAMES),
        max_pixels=_SIDE * _SIDE,
    )


def _member(owner: Object, name: str, param: str) -> Object:
    value: Any = owner.get(name)
    found = as_object({} if value is None else value)
    if found is None:
        raise wrong_type(param, value, "object")
    return found


def watch(data: bytes, sampling: VideoSampling, model: str) -> Video:
    """Decode and measure a video file.

    Args:
        data: The file.
        sampling: From `sampling_of`.
        model: Whose token formula counts.

    Raises:
        Refusal: It is no video, or cannot be decoded.
    """
    file = io.BytesIO(data)
    with refusing("video"):
        whole = VideoSampling(fps=_FASTEST, num_frames=1, max_pixels=_WHOLE)
        size = sample_frames(file, whole, limits=DEFAULT_LIMITS, label=_LABEL)[0].image.size
        frames = sample_frames(file, sampling, limits=DEFAULT_LIMITS, label=_LABEL)
        seconds = _seconds(file)
    return _video([frame.image for frame in frames], size, seconds, model)


def _seconds(file: io.BytesIO) -> float:
    """How long the pictures of a video last."""
    from minicpm_core.media.frames import Track

    with containers.opened(file, wanted="video", label=_LABEL) as container:
        track = Track(container, limits=DEFAULT_LIMITS, label=_LABEL, stop=None)
        told = track.duration()
        return track.measured() if told is None else told


def leaf_through(text: str, sampling: VideoSampling, model: str) -> Video:
    """Decode and measure a video that was sent as a list of pictures.

    Args:
        text: The pictures in Base64, with commas between them.
        sampling: From `sampling_of`: as in vLLM, pictures beyond its number are not looked at.
        model: Whose token formula counts.

    Raises:
        Refusal: One of them is no picture, or they differ in size.
    """
    most = sampling.num_frames
    images: list[Image] = []
    size: tuple[int, int] | None = None
    for part in text.split(",", most)[:most]:
        image, _ = opened(decoded(part))
        if image.size != (size or image.size):
            # Numpy's words, when it is to stack them.
            raise Refusal("bad_video", "Failed to load video: all input arrays must have the same shape")
        size = image.size
        small = image.convert("RGB")
        small.thumbnail((_SIDE, _SIDE))
        images.append(small)
    return _video(images, size or images[0].size, None, model)


def _video(images: Sequence[Image], size: tuple[int, int], seconds: float | None, model: str) -> Video:
    first, middle, last = (measured(images[at], "frame", model) for at in (0, len(images) // 2, -1))
    pixels = chain.from_iterable(_pixels(image) for image in images)
    # The same count as the client's, so that the two can be compared to the token.
    tokens = part_tokens(FramesPart((b"",) * len(images), *size), model)
    return Video(len(images), *size, seconds, (first, middle, last), shares(pixels)[0][0], tokens)


def _pixels(image: Image) -> zip[tuple[int, int, int]]:
    from PIL.Image import Resampling

    data = image.resize(_TINY, Resampling.BOX).tobytes()
    return zip(data[::3], data[1::3], data[2::3], strict=True)
