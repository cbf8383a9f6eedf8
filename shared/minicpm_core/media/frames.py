"""Finding and decoding the frames of a video at given times, without decoding all the others where that can be helped.

Between two times that lie far apart the file is sought by keyframe.  A file whose keyframes are further apart than the
times would be decoded twice by that, so each jump that lands behind the place it left from doubles the distance that
is worth a jump.  Frames that no other frame needs are not decoded before the time that is looked for.
"""

from __future__ import annotations

import contextlib
import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from minicpm_core.errors import InvalidMediaError
from minicpm_core.media.containers import MAX_FRAME_PIXELS, check_stop, is_marked, prepare_decoder, pyav, reason
from minicpm_core.media.limits import check_pixels
from minicpm_core.media.video import frame_size

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from av.container import InputContainer

    from minicpm_core.media.limits import MediaLimits

SLACK = 0.002
"""Seconds that a frame may come early: WebM rounds time stamps to milliseconds."""

MAX_DECODED_PIXELS = 2 * 10**11
"""Pixels decoded in all, about an hour of 1080p: a frame that repeats the last one takes ten bytes of a file."""

_JUMP = 2.5
_LEAD = {"mpegts": 10.0}
"""Seconds to land early, for containers that are sought by position and not by keyframe."""

_TIME_BASE = 1_000_000
_MAX_SHAPE = 10
_HDR = frozenset({16, 18})
"""Transfer characteristics PQ and HLG (ITU-T H.273 table 3)."""

_SDR = 1
"""BT.709, as primaries and as transfer characteristics of H.273."""

_CONVERTS_HDR = 17
"""The major version of PyAV from which on it converts HDR, instead of only saying so."""

_UPRIGHT_BY = {
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
"""By the signs of a, b, c and d of the display matrix: x' = ax + cy, y' = bx + dy."""


class Track:
    """The picture track of an open file.

    Attributes:
        problem: The last thing in the file that could not be decoded.
    """

    def __init__(
        self, container: InputContainer, *, limits: MediaLimits, label: str, stop: threading.Event | None
    ) -> None:
        """Choose the track: the first that is not the cover of a recording.

        Raises:
            InvalidMediaError: There is none, or its frames are too large or of an unknown codec.
        """
        videos = (one for one in container.streams.video if not is_marked(one, "attached_pic"))
        stream: Any = next(videos, None)
        if stream is None:
            raise InvalidMediaError(f"{label} has no pictures: it is a recording. Send it as audio.")
        self._container: Any = container
        self._stream: Any = stream
        self._limits = limits
        self._label = label
        self._stop = stop
        self._error = pyav().FFmpegError
        self._pixels = MAX_DECODED_PIXELS
        self._target = 0.0
        self._jump = _JUMP
        self._lead = _LEAD.get(container.format.name, 0.0)
        self._origin = (container.start_time or 0) / _TIME_BASE
        self._frame_lasts = 1 / float(stream.average_rate or 1)
        self.problem: Exception | None = None
        prepare_decoder(stream.codec_context, label)
        self._check_size(stream.width, stream.height)

    def duration(self) -> float | None:
        """Seconds that the file says the pictures last; `None` where it does not (as browsers record WebM)."""
        stream = self._stream
        if stream.duration and stream.duration > 0:
            start = stream.start_time or 0
            return max(float((start + stream.duration) * stream.time_base) - self._origin, 0.0)
        whole: int | None = self._container.duration
        return whole / _TIME_BASE if whole and whole > 0 else None

    def measured(self) -> float:
        """Seconds until the last frame ends, found by reading the whole file without decoding it."""
        end = 0.0
        try:
            for packet in self._container.demux(self._stream):
                check_stop(self._stop)
                at = self._time(packet)
                if at is not None:
                    end = max(end, at + float((packet.duration or 0) * self._stream.time_base))
        except self._error as error:
            self.problem = error  # what was read until here is what there is
        return end

    def take(self, times: Sequence[float], until: float, at: Callable[[float], None]) -> Iterator[tuple[float, Any]]:
        """For each time the first frame that does not come before it; none twice, and none from `until` on.

        Args:
            times: Seconds, ascending.
            until: Seconds.
            at: Called with the seconds of each frame that was decoded.

        Returns:
            An iterator over the frames and their seconds.
        """
        position = 0.0
        wanted = 0
        frames = self._frames()
        while wanted < len(times):
            target = self._target = times[wanted]
            landed = target - position > self._jump + self._lead and self._seek(target - self._lead)
            if landed:
                frames = self._frames()
            found = self._first(frames, target, position if landed else -1.0, at)
            if found is None or found[0] >= until:
                return
            yield found
            position = found[0]
            wanted = max(bisect_right(times, position + SLACK), wanted + 1)

    def _first(
        self, frames: Iterator[tuple[float, Any]], target: float, left: float, at: Callable[[float], None]
    ) -> tuple[float, Any] | None:
        """The first frame that does not come before `target`, after a jump from `left`."""
        for number, (seconds, frame) in enumerate(frames):
            if number == 0 and seconds <= left:
                self._jump = 2 * (target - left)
            at(seconds)
            if seconds >= target - SLACK:
                return seconds, frame
        return None

    def picture(self, frame: Any, max_pixels: int) -> Image.Image:
        """A frame as an upright picture in RGB, with square pixels, in the size of `frame_size`.

        Raises:
            InvalidMediaError: FFmpeg cannot convert it.
        """
        width, height = frame.width, frame.height
        ratio = self._stream.sample_aspect_ratio
        shape = float(ratio) if ratio and 1 / _MAX_SHAPE <= ratio <= _MAX_SHAPE else 1.0
        square = (max(round(width * min(shape, 1)), 1), max(round(height / max(shape, 1)), 1))
        return _picture(frame, frame_size(square, max_pixels), self._label)

    def _seek(self, seconds: float) -> bool:
        try:
            offset = int((seconds + self._origin) / self._stream.time_base)
            self._container.seek(offset, stream=self._stream)
        except self._error as error:
            self.problem = error  # what cannot be sought is read through
            self._jump = float("inf")
            return False
        return True

    def _frames(self) -> Iterator[tuple[float, Any]]:
        """Frames from here on, with their seconds; what is broken is left out, and remembered."""
        context = self._stream.codec_context
        packets = self._container.demux(self._stream)
        last = -self._frame_lasts
        while True:
            check_stop(self._stop)
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._error as error:
                self.problem = error
                return
            at = self._time(packet)
            context.skip_frame = "NONREF" if at is not None and at < self._target - SLACK else "DEFAULT"
            try:
                decoded = packet.decode()
            except self._error as error:
                self.problem = error
                continue
            for frame in decoded:
                self._account(frame)
                seconds = self._time(frame)
                last = last + self._frame_lasts if seconds is None else seconds
                yield last, frame

    def _time(self, timed: Any) -> float | None:
        stamp = timed.dts if timed.pts is None else timed.pts
        if stamp is None:
            return None
        return float(stamp * (timed.time_base or self._stream.time_base)) - self._origin

    def _account(self, frame: Any) -> None:
        self._check_size(frame.width, frame.height)
        self._pixels -= frame.width * frame.height
        if self._pixels < 0:
            raise InvalidMediaError(
                f"{self._label} takes too long to decode: more than {MAX_DECODED_PIXELS:.0e} pixels. "
                "Choose a part of it with start and end."
            )

    def _check_size(self, width: int, height: int) -> None:
        if not width or not height:
            return  # known when the first frame comes
        check_pixels(width, height, self._limits, self._label)
        if width * height > MAX_FRAME_PIXELS:
            raise InvalidMediaError(
                f"{self._label} is too large: {width} x {height} pixels; the limit is {MAX_FRAME_PIXELS} a frame."
            )


def _picture(frame: Any, size: tuple[int, int], label: str) -> Image.Image:
    """HDR becomes SDR where PyAV can, what is transparent becomes white. The size is that before it is turned."""
    clear = any(component.is_alpha for component in frame.format.components)
    layout = "rgba" if clear else "rgb24"
    options: dict[str, Any] = {"width": size[0], "height": size[1], "format": layout, "interpolation": "BICUBIC"}
    av = pyav()
    scaled = None
    if int(av.__version__.partition(".")[0]) >= _CONVERTS_HDR and int(frame.color_trc) in _HDR:
        with contextlib.suppress(av.FFmpegError):  # tags that it does not know: then as it is
            scaled = frame.reformat(**options, dst_color_trc=_SDR, dst_color_primaries=_SDR)
    try:
        scaled = scaled or frame.reformat(**options)
    except (av.FFmpegError, ValueError) as error:
        raise InvalidMediaError(
            f"{label} has frames that cannot be converted to RGB ({frame.format.name}: {reason(error)})."
        ) from error
    plane = scaled.planes[0]
    mode = "RGBA" if clear else "RGB"
    image = Image.frombytes(mode, size, bytes(plane), "raw", mode, plane.line_size, 1)
    if clear:
        flat = Image.new("RGB", size, "white")
        flat.paste(image, mask=image)
        image = flat
    turn = _UPRIGHT_BY.get(_turned(frame))
    return image if turn is None else image.transpose(turn)


def _turned(frame: Any) -> tuple[int, int, int, int]:
    """The signs of the display matrix; the nearest right angle, where it is turned by another one."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return (1, 0, 0, 1)
    a, b, _, c, d = struct.unpack_from("=5i", bytes(data))
    straight = abs(a) >= abs(b)
    signs = ((value > 0) - (value < 0) for value in ((a, 0, 0, d) if straight else (0, b, c, 0)))
    return cast("tuple[int, int, int, int]", tuple(signs))
