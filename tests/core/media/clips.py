"""Small videos and recordings, made in memory with PyAV, and what can be seen and heard in them."""

from __future__ import annotations

import io
import itertools
import math
import struct
from array import array
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av as typed_av
from PIL import Image

from tests.core.media.pictures import colour, quarters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

av: Any = typed_av
"""PyAV's own annotations leave half of it unknown to a strict checker."""

SIZE = (320, 180)
MIDDLE = (160, 90)

TURNED: dict[int, tuple[int, int, int, int]] = {
    1: (1, 0, 0, 1), 2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1),
    5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0),
}  # fmt: skip
"""The matrices a, b, c, d of a track header that show a picture as the EXIF orientations do."""


def shade(number: int) -> tuple[int, int, int]:
    """The colour of a frame: it tells the frame's number (up to 255) even after lossy coding."""
    return (255 if number & 1 else 0, 255 if number & 2 else 0, 16 * (number // 4 % 16))


def number_of(image: Image.Image) -> int:
    """The way back, modulo 64."""
    red, green, blue = colour(image, (image.width // 2, image.height // 2))
    return (red > 127) + 2 * (green > 127) + 4 * round(blue / 16)


def numbered(count: int, size: tuple[int, int] = SIZE) -> list[Image.Image]:
    return [Image.new("RGB", size, shade(number)) for number in range(count)]


def video(
    kind: str = "mp4",
    codec: str = "libx264",
    images: Iterable[Image.Image] | None = None,
    rate: float = 10,
    layout: str = "yuv420p",
    *,
    times: Sequence[float] | None = None,
    sound: bool = False,
    shape: Fraction | None = None,
    container: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> bytes:
    """A video file.

    Args:
        kind: FFmpeg's name of the muxer.
        codec: FFmpeg's name of the encoder.
        images: The frames; 40 numbered ones by default.
        rate: Frames a second.
        layout: FFmpeg's pixel format.
        times: Milliseconds of each frame, for a frame rate that varies.
        sound: With a second of sound.
        shape: Width of a pixel by its height.
        container: Options of the muxer.
        options: Options of the encoder.
    """
    frames = list(numbered(40) if images is None else images)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind, options=container or {}) as file:
        stream: Any = file.add_stream(codec, rate=Fraction(rate).limit_denominator(1000), options=options or {})
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = layout
        if shape:
            stream.codec_context.sample_aspect_ratio = shape
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        track: Any = None
        if sound:
            track = file.add_stream("libopus" if kind == "webm" else "aac", rate=48_000)
            track.layout = "mono"
        for place, image in enumerate(frames):
            frame = _frame(image)
            if times:
                frame.pts, frame.time_base = int(times[place]), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if track is not None:
            _sing(file, track, 48_000, 1, 1.0)
    return buffer.getvalue()


def _frame(image: Image.Image) -> Any:
    if image.mode == "RGBA":
        return av.VideoFrame.from_bytes(image.tobytes(), *image.size, format="rgba")
    return av.VideoFrame.from_image(image)


def recording(
    kind: str = "wav",
    codec: str = "pcm_s16le",
    rate: int = 16_000,
    layout: str = "mono",
    seconds: float = 1.0,
    *,
    silent: Sequence[int] = (),
    audio_format: str | None = None,
) -> bytes:
    """A recording of a 440 Hz tone at half volume.

    Args:
        kind: FFmpeg's name of the muxer.
        codec: FFmpeg's name of the encoder.
        rate: Samples a second.
        layout: FFmpeg's name of the channels.
        seconds: How long.
        silent: Channels without the tone.
        audio_format: FFmpeg's sample format, where the encoder has several.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as file:
        stream: Any = file.add_stream(codec, rate=rate)
        stream.layout = layout
        if audio_format:
            stream.format = audio_format
        _sing(file, stream, rate, stream.codec_context.layout.nb_channels, seconds, silent)
    return buffer.getvalue()


def _sing(file: Any, stream: Any, rate: int, channels: int, seconds: float, silent: Sequence[int] = ()) -> None:
    samples = array("h")
    for number in range(round(rate * seconds)):
        value = round(16_000 * math.sin(2 * math.pi * 440 * number / rate))
        samples.extend(0 if channel in silent else value for channel in range(channels))
    size = 1000
    for at in range(0, len(samples) // channels, size):
        piece = samples[at * channels : (at + size) * channels]
        frame = av.AudioFrame(format="s16", layout=stream.codec_context.layout, samples=len(piece) // channels)
        frame.sample_rate = rate
        frame.pts = at
        frame.planes[0].update(piece.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def turned(data: bytes, orientation: int, size: tuple[int, int] = SIZE) -> bytes:
    """An MP4 or QuickTime file whose header says how to turn the picture, as phones write it."""
    a, b, c, d = TURNED[orientation]
    at = data.index(b"tkhd") + 44
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, size[0] << 16, size[1] << 16, 1 << 30)
    return data[:at] + matrix + data[at + len(matrix) :]


def quarter_video(kind: str = "mp4", size: tuple[int, int] = SIZE) -> bytes:
    """Frames in four colours, so that every turn shows."""
    return video(kind, images=[quarters(size)] * 3)


def tone(wav: bytes) -> tuple[float, float]:
    """Pitch (Hz) and loudness (peak, 0 to 1) of a 16 kHz mono WAV, by zero crossings; the ends are left out."""
    samples = array("h", wav[44:])[800:-800]
    crossings = sum(one < 0 <= other for one, other in itertools.pairwise(samples))
    return crossings * 16_000 / len(samples), max(map(abs, samples)) / 32_768


def shown_in(data: bytes, kind: str = "mp4") -> list[Image.Image]:
    """All frames of a video."""
    with av.open(io.BytesIO(data), "r", format=kind) as file:
        return [frame.to_image() for frame in file.decode(video=0)]


def with_cover() -> bytes:
    """A recording in a QuickTime file with a picture on its sleeve, which FFmpeg shows as a video track."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mov") as file:
        track: Any = file.add_stream("aac", rate=48_000)
        track.layout = "mono"
        cover: Any = file.add_stream("mjpeg", rate=1)
        cover.width, cover.height = SIZE
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value
        file.mux(cover.encode(av.VideoFrame.from_image(quarters(SIZE))))
        file.mux(cover.encode(None))
        _sing(file, track, 48_000, 1, 0.2)
    return buffer.getvalue()
