"""Recordings: whatever PyAV decodes becomes the 16 kHz mono WAV that MiniCPM-o hears."""

from __future__ import annotations

import contextlib
import io
import struct
import wave
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from minicpm_core.errors import InvalidMediaError
from minicpm_core.media.containers import check_stop, is_marked, opened, prepare_decoder, pyav, reason

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterator

    from av.container import InputContainer

    from minicpm_core.media.limits import MediaLimits

RATE = 16_000
"""Samples a second, as the model's audio encoder (Whisper) takes them."""

MAX_SECONDS = 3600
"""The longest recording: 36,000 tokens, 115 MB of WAV."""

_LOWEST_RATE = 1000
"""Telephones have 8,000. A few bytes at one a second would fill the memory."""

_SAMPLE = 2
_OTHER_CHUNKS = 64 * 1024
"""Bytes beside the sound that may pass along, such as a title."""

_PCM, _EXTENSIBLE = 1, 0xFFFE
_MAX_CHUNKS = 64
_TIME_BASE = 1_000_000


class Recording(NamedTuple):
    """A recording that can be sent.

    Attributes:
        data: The file.
        format: `wav`.
        seconds: How long it is.
    """

    data: bytes
    format: str
    seconds: float


def inspect(file: BinaryIO) -> float | None:
    """Seconds of a recording that already is a 16 kHz mono 16-bit WAV; `None` if it is anything else.

    Only headers are read, so that a whole file of hours is told in microseconds. A WAV that is cut off, or whose
    header leaves the length open, is not one that can be sent as it is.

    Args:
        file: Binary and seekable. Its position is put back.
    """
    position = file.tell()
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        return _inspect(file, size)
    finally:
        file.seek(position)


def _inspect(file: BinaryIO, size: int) -> float | None:
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    suits = False
    at = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        chunk = file.read(8)
        if len(chunk) < 8:  # noqa: PLR2004 - name and length, 4 bytes each
            return None
        name, length = chunk[:4], int.from_bytes(chunk[4:], "little")
        if name == b"fmt ":
            suits = _suits(file.read(min(length, 40)))
        if name == b"data":
            whole = 0 < length <= size - at - 8 and length % _SAMPLE == 0
            return length / _SAMPLE / RATE if suits and whole else None
        at += 8 + length + length % 2
    return None


def _suits(content: bytes) -> bool:
    """Whether a `fmt ` chunk says 16 kHz, mono, 16-bit PCM."""
    if len(content) < 16:  # noqa: PLR2004 - the fields below
        return False
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", content)
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(content[24:26], "little")  # the first bytes of the subformat's GUID
    return (tag, channels, rate, block, bits) == (_PCM, 1, RATE, _SAMPLE, 8 * _SAMPLE)


def to_wav(file: BinaryIO, *, limits: MediaLimits, label: str, stop: threading.Event | None = None) -> Recording:
    """Turn a recording, or the sound track of a video, into a 16 kHz mono 16-bit WAV.

    One that already is passes through untouched. Several channels are mixed into one. Of several tracks the default
    one is taken, or the first. A file that is cut off or broken in places gives what can be decoded of it.

    Args:
        file: Binary and seekable. Its position is put back.
        limits: The WAV has at most `max_bytes`: 64 MiB are 35 minutes.
        label: How to call it in an error.
        stop: Set from another thread to give up.

    Raises:
        InvalidMediaError: It is no recording, has no sound, cannot be decoded, or is longer than the limits.
        ConfigurationError: It has to be decoded, and PyAV is not installed.
        CancelledError: `stop` was set (that of `concurrent.futures`).
    """
    try:
        seconds = inspect(file)
    except (OSError, ValueError) as error:
        raise InvalidMediaError(f"{label} cannot be read: {error}.") from error
    if seconds is not None:
        passed = _passed(file, seconds, limits, label)
        if passed is not None:
            return passed
    with opened(file, wanted="audio", label=label, stop=stop) as container:
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as wav:
            wav.setparams((1, _SAMPLE, RATE, 0, "NONE", ""))
            samples = 0
            for piece in _pieces(container, limits, label, stop):
                samples += len(piece) // _SAMPLE
                check_seconds(samples / RATE, limits, label)
                wav.writeframesraw(piece)
    return Recording(buffer.getvalue(), "wav", samples / RATE)


def _passed(file: BinaryIO, seconds: float, limits: MediaLimits, label: str) -> Recording | None:
    """The file itself, unless other chunks make it much larger than its sound."""
    check_seconds(seconds, limits, label)
    bound = round(seconds * RATE) * _SAMPLE + _OTHER_CHUNKS
    position = file.tell()
    try:
        file.seek(0)
        data = file.read(bound + 1)
    finally:
        file.seek(position)
    return Recording(data, "wav", seconds) if len(data) <= bound else None


def longest_seconds(limits: MediaLimits) -> float:
    """The longest recording that is taken.

    Args:
        limits: As for `to_wav`.
    """
    return min(MAX_SECONDS, limits.max_seconds, limits.max_bytes / RATE / _SAMPLE)


def check_seconds(seconds: float, limits: MediaLimits, label: str) -> None:
    """Refuse a recording that is too long.

    Args:
        seconds: How long it is.
        limits: The bound.
        label: How to call it in the error.

    Raises:
        InvalidMediaError: It is longer than that.
    """
    longest = longest_seconds(limits)
    if seconds > longest:
        raise InvalidMediaError(
            f"{label} is too long: it has more than {longest:g} s, which is the limit. Send it in parts."
        )


def _pieces(
    container: InputContainer, limits: MediaLimits, label: str, stop: threading.Event | None
) -> Iterator[bytes]:
    """Sound of 16 kHz, mono, 16 bits, piece by piece.

    Raises:
        InvalidMediaError: There is none.
    """
    tracks = container.streams.audio
    if not tracks:
        raise InvalidMediaError(f"{label} has no sound track.")
    track = next((one for one in tracks if is_marked(one, "default")), tracks[0])
    prepare_decoder(track.codec_context, label)
    if container.duration:
        check_seconds(
            container.duration / _TIME_BASE / 2, limits, label
        )  # it may be an estimate; what is decoded is counted
    found = False
    mixer = _Mixer(label)
    decoded = _Decoded(container, track, stop)
    for frame in decoded.frames():
        for piece in mixer.mixed(frame):
            found = True
            yield piece
    for piece in mixer.rest():
        found = True
        yield piece
    if not found:
        problem = f": {reason(decoded.problem)}" if decoded.problem else ""
        raise InvalidMediaError(f"{label} has no sound that can be decoded: it is cut off or broken{problem}.")


class _Decoded:
    """The frames of a sound track; what is broken is left out, and remembered."""

    def __init__(self, container: InputContainer, track: Any, stop: threading.Event | None) -> None:
        self._container: Any = container
        self._track = track
        self._stop = stop
        self.problem: Exception | None = None

    def frames(self) -> Iterator[Any]:
        error = pyav().FFmpegError
        with self._noting(error):
            for packet in self._container.demux(self._track):
                check_stop(self._stop)
                with self._noting(error):
                    yield from packet.decode()

    @contextlib.contextmanager
    def _noting(self, kind: type[Exception]) -> Generator[None]:
        try:
            yield
        except kind as error:
            self.problem = error


class _Mixer:
    """Resamples; begins anew where the sound changes its rate, format or channels."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._resampler: Any = None
        self._shape: tuple[str, str, int] | None = None

    def mixed(self, frame: Any) -> Iterator[bytes]:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            if frame.sample_rate < _LOWEST_RATE:
                raise InvalidMediaError(f"{self._label} has {frame.sample_rate} samples a second, which is no sound.")
            yield from self.rest()
            self._resampler = pyav().AudioResampler(format="s16", layout="mono", rate=RATE)
            self._shape = shape
        yield from self._pieces(frame)

    def rest(self) -> Iterator[bytes]:
        if self._resampler is not None:
            yield from self._pieces(None)

    def _pieces(self, frame: Any) -> Iterator[bytes]:
        try:
            pieces = self._resampler.resample(frame)
        except (pyav().FFmpegError, ValueError) as error:
            raise InvalidMediaError(f"{self._label} has sound that cannot be converted: {reason(error)}.") from error
        for mono in pieces:
            if mono.samples:
                yield bytes(mono.planes[0])[: mono.samples * _SAMPLE]
