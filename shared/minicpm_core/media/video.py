"""Videos: the frames that a model is to see, as pictures, JPEG files or a short MP4.

    frames = sample_frames(file, VideoSampling(num_frames=32), limits=DEFAULT_LIMITS, label="The video")
    to_mp4(frames, label="The video")      for servers that take `video_url`
    to_jpegs(frames)                       for servers that take frames, or pictures only

A frame of up to 448 x 448 pixels costs a model one tile (about 66 tokens), one of 720p seven (444).
"""

from __future__ import annotations

import io
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

from minicpm_core.errors import ConfigurationError, InvalidInputError, InvalidMediaError
from minicpm_core.media.containers import MAX_THREADS, opened, pyav, reason
from minicpm_core.media.sources import NEEDS_PILLOW

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from av.container import InputContainer
    from PIL.Image import Image

    from minicpm_core.media.frames import Track
    from minicpm_core.media.limits import MediaLimits
    from minicpm_core.parts import VideoSampling

    Progress: TypeAlias = Callable[[float], None]

MAX_KEPT_PIXELS = 400_000_000
"""Pixels of all frames that are kept: 1.2 GB."""

JPEG_QUALITY = 90
_DEFAULT_FPS = 1.0
_ROUNDING = 1e-3
_EPSILON = 1e-6  # what a square root may be off by; too little to make the product a pixel larger
_STEP = 0.01
_SLOWEST = Fraction(1, 3600)
_FASTEST = Fraction(240)
_INDEX, _INDEX_OF_A_FRAME = 2048, 16


class Frame(NamedTuple):
    """A frame of a video.

    Attributes:
        seconds: When it is shown, from the start of the video.
        image: Upright, in RGB, with even sides; all frames of a video have one size.
    """

    seconds: float
    image: Image


def plan(duration: float, sampling: VideoSampling) -> list[float]:
    """The times at which frames are taken.

    They are `start`, `start + step` and so on before `end`, where `step` is `1 / fps` (one second without `fps`), or
    longer where that would be more than `num_frames` of them.  How many frames the file has is not asked: an average
    rate says nothing of a screen recording, and no frame is taken twice anyway.

    Args:
        duration: Seconds of the video.
        sampling: `fps`, `num_frames`, `start` and `end`.

    Returns:
        Ascending seconds; none where `start` lies behind the end of the video.
    """
    start = sampling.start
    end = duration if sampling.end is None else min(sampling.end, duration)
    if end <= start:
        return [0.0] if start == 0 else []  # one frame may last no time at all
    span = end - start
    step = max(1 / (sampling.fps or _DEFAULT_FPS), span / sampling.num_frames)
    count = min(max(1, math.ceil(span / step - _ROUNDING)), sampling.num_frames)
    return [start + number * step for number in range(count)]


def frame_size(size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """The size that a frame is sent in: its shape kept, its sides even (as H.264 wants them), never larger.

    Args:
        size: Width and height in pixels.
        max_pixels: The most pixels, 4 at least. A side of one pixel becomes two.

    Raises:
        InvalidInputError: A size is not positive.
    """
    width, height = size
    if width < 1 or height < 1 or max_pixels < 1:
        raise InvalidInputError(f"Sizes and max_pixels must be 1 or more, not {width} x {height} and {max_pixels}.")
    scale = min(1.0, math.sqrt(max_pixels / (width * height)))
    longest = max(max_pixels // 2, 2)  # beside a side of two
    even = [max(2, min(int(side * scale + _EPSILON), longest) // 2 * 2) for side in size]
    return even[0], even[1]


def sample_frames(
    file: BinaryIO,
    sampling: VideoSampling,
    *,
    limits: MediaLimits,
    label: str,
    stop: threading.Event | None = None,
    progress: Progress | None = None,
) -> list[Frame]:
    """Take frames of a video, scaled down and upright.

    For each time of `plan` the first frame that is not before it is taken; where the file has fewer frames, those that
    it has, and none twice.  A file that is cut off at its end, or broken in places, gives the frames that can be
    decoded.  Where a file does not tell its length it is read to its end first, without decoding it.

    Args:
        file: Binary and seekable. Its position is put back.
        sampling: Which frames, and how large.
        limits: `max_pixels` bounds a frame as it is stored.
        label: How to call the video in an error.
        stop: Set from another thread to give up.
        progress: Called with the fraction of the video that has been gone through, from 0 to 1, ascending.

    Returns:
        One frame at least.

    Raises:
        InvalidMediaError: It is no video, no frame of it can be decoded, or it is too long or too large.
        ConfigurationError: PyAV or Pillow is not installed.
        CancelledError: `stop` was set (that of `concurrent.futures`).
    """
    with opened(file, wanted="video", label=label, stop=stop) as container:
        track = _track(container, limits=limits, label=label, stop=stop)
        duration = track.duration()
        if duration is not None:
            return _sample(track, duration, sampling, limits=limits, label=label, progress=progress)
        duration = track.measured()
    with opened(file, wanted="video", label=label, stop=stop) as container:  # from its start again
        track = _track(container, limits=limits, label=label, stop=stop)
        return _sample(track, duration, sampling, limits=limits, label=label, progress=progress)


def _track(container: InputContainer, *, limits: MediaLimits, label: str, stop: threading.Event | None) -> Track:
    try:
        from minicpm_core.media.frames import Track
    except ImportError as error:
        raise ConfigurationError(f"{label} cannot be decoded without Pillow. {NEEDS_PILLOW}") from error
    return Track(container, limits=limits, label=label, stop=stop)


def _sample(
    track: Track,
    duration: float,
    sampling: VideoSampling,
    *,
    limits: MediaLimits,
    label: str,
    progress: Progress | None,
) -> list[Frame]:
    times = plan(duration, sampling)
    if not times:
        raise InvalidMediaError(f"{label} lasts {duration:g} s, but is to begin at {sampling.start:g} s.")
    end = duration if sampling.end is None else min(sampling.end, duration)
    if end - sampling.start > limits.max_seconds:
        raise InvalidMediaError(
            f"{label} is too long: {end - sampling.start:.0f} s; the limit is {limits.max_seconds:g} s. "
            "Choose a part of it with start and end."
        )
    told = _Told(progress, sampling.start, end)
    frames: list[Frame] = []
    for seconds, frame in track.take(times, sampling.end or math.inf, told.at):
        image = track.picture(frame, sampling.max_pixels)
        if image.width * image.height * len(times) > MAX_KEPT_PIXELS:
            raise InvalidMediaError(
                f"{label} would take too much memory: {len(times)} frames of {image.width} x {image.height} pixels. "
                "Lower num_frames or max_pixels."
            )
        frames.append(Frame(seconds, _same_size(image, frames)))
    if not frames:
        problem = f": {reason(track.problem)}" if track.problem else ""
        raise InvalidMediaError(
            f"{label} has no frame that can be decoded from {sampling.start:g} s on: it is cut off or broken{problem}."
        )
    told.at(math.inf)
    return frames


class _Told:
    """Progress as a fraction that only grows, told a hundred times at most."""

    def __init__(self, progress: Progress | None, start: float, end: float) -> None:
        self._progress = progress
        self._start = start
        self._span = max(end - start, _ROUNDING)
        self._last = 0.0

    def at(self, seconds: float) -> None:
        done = min(max((seconds - self._start) / self._span, 0.0), 1.0)
        if self._progress is not None and (done >= self._last + _STEP or (done == 1.0 and self._last < 1.0)):
            self._last = done
            self._progress(done)


def _same_size(image: Image, frames: Sequence[Frame]) -> Image:
    """The picture, in the size of the first: a call's recording may change its size as it goes on."""
    if not frames or image.size == frames[0].image.size:
        return image
    from PIL import ImageOps

    return ImageOps.pad(image, frames[0].image.size)


def to_jpegs(frames: Sequence[Frame], *, quality: int = JPEG_QUALITY) -> list[bytes]:
    """Encode each frame as a JPEG file.

    Args:
        frames: From `sample_frames`.
        quality: 1 to 95, as Pillow has it. The chroma is not subsampled: coloured text smears by that.
    """
    return [_jpeg(frame.image, quality) for frame in frames]


def _jpeg(image: Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def to_mp4(frames: Sequence[Frame], *, label: str) -> bytes:
    """Encode frames as a silent MP4 (H.264, 4:2:0, index first) that holds just them.

    The frame rate is constant and such that the clip lasts as long as the time it was sampled from: a server that asks
    for as many frames or more gets exactly these, one that samples by seconds sees the true speed.

    Args:
        frames: From `sample_frames`.
        label: How to call the video in an error.

    Raises:
        InvalidMediaError: There is no frame, or they cannot be encoded.
        ConfigurationError: PyAV is not installed.
    """
    if not frames:
        raise InvalidMediaError(f"{label} has no frames to encode.")
    av = pyav()
    rate = _rate(frames)
    buffer = io.BytesIO()
    index = str(_INDEX + _INDEX_OF_A_FRAME * len(frames))
    try:
        with av.open(buffer, "w", format="mp4", options={"moov_size": index}) as container:
            stream: Any = container.add_stream("libx264", rate=rate, options=_X264)
            stream.width, stream.height = frames[0].image.size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.thread_count = MAX_THREADS
            for number, frame in enumerate(frames):
                raw = av.VideoFrame.from_image(frame.image)
                raw.pts, raw.time_base = number, 1 / rate
                container.mux(stream.encode(raw))
            container.mux(stream.encode(None))
    except (av.FFmpegError, ValueError) as error:
        raise InvalidMediaError(f"{label} cannot be encoded as MP4: {reason(error)}.") from error
    return buffer.getvalue()


_X264 = {"crf": "20", "preset": "veryfast", "bf": "0"}
"""Without B-frames every decoder gives the frames in order and at once."""


def _rate(frames: Sequence[Frame]) -> Fraction:
    span = frames[-1].seconds - frames[0].seconds
    if len(frames) == 1 or span <= 0:
        return Fraction(1)
    return min(max(Fraction((len(frames) - 1) / span).limit_denominator(10_000), _SLOWEST), _FASTEST)
