"""Videos and recordings: what they are by their first bytes, and opening them with PyAV.

FFmpeg would try some 350 demuxers on a file, among them playlists (HLS, DASH, concat) and image sequences, which open
other files and addresses.  Here the magic bytes alone choose one of ten, FFmpeg sees a file object without a name, and
nested demuxers, protocols and decoders outside the tables below are shut off.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NoReturn, TypeAlias, cast

from minicpm_core.errors import ConfigurationError, InvalidMediaError, UnsupportedContentError
from minicpm_core.media.sniff import NAMES, lookalike, sniff

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator
    from types import ModuleType

    from av.container import InputContainer

NEEDS_PYAV = 'This needs PyAV: pip install "minicpm-integrations[media]".'
HEAD = 1024
"""Bytes that `identify` wants to see."""

MAX_FRAME_PIXELS = 50_000_000
"""Pixels of a frame. 8K video has 33 million."""

MAX_THREADS = 4
"""Threads of a codec: with more, small clips are no faster, and each holds frames of its own."""

Medium: TypeAlias = Literal["video", "audio"]


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of file.

    Attributes:
        media_type: Such as `video/mp4`.
        name: How to call it in a message, with its article.
        demuxer: FFmpeg's name.
        medium: What files of this kind hold; a video may turn out to have no picture track.
    """

    media_type: str
    name: str
    demuxer: str
    medium: Medium


MP4 = Container("video/mp4", "an MP4 video", "mov", "video")
MOV = Container("video/quicktime", "a QuickTime video", "mov", "video")
MOBILE = Container("video/3gpp", "a 3GP video", "mov", "video")
M4A = Container("audio/mp4", "an M4A recording", "mov", "audio")
WEBM = Container("video/webm", "a WebM video", "matroska", "video")
MKV = Container("video/x-matroska", "a Matroska video", "matroska", "video")
AVI = Container("video/x-msvideo", "an AVI video", "avi", "video")
MPEG_TS = Container("video/mp2t", "an MPEG transport stream", "mpegts", "video")
OGV = Container("video/ogg", "an Ogg video", "ogg", "video")
OGG = Container("audio/ogg", "an Ogg recording", "ogg", "audio")
WAV = Container("audio/wav", "a WAV recording", "wav", "audio")
MP3 = Container("audio/mpeg", "an MP3 recording", "mp3", "audio")
FLAC = Container("audio/flac", "a FLAC recording", "flac", "audio")
AAC = Container("audio/aac", "an AAC recording", "aac", "audio")
AIFF = Container("audio/aiff", "an AIFF recording", "aiff", "audio")

_MARKS: tuple[tuple[bytes, int, bytes, Container], ...] = (
    (b"RIFF", 8, b"AVI ", AVI),
    (b"RIFF", 8, b"WAVE", WAV),
    (b"RF64", 8, b"WAVE", WAV),
    (b"FORM", 8, b"AIFF", AIFF),
    (b"FORM", 8, b"AIFC", AIFF),
    (b"fLaC", 0, b"", FLAC),
    (b"ID3", 0, b"", MP3),
)
_BRANDS = {
    b"M4A ": M4A, b"M4B ": M4A, b"M4P ": M4A, b"F4A ": M4A, b"F4B ": M4A, b"qt  ": MOV,
    b"3gp4": MOBILE, b"3gp5": MOBILE, b"3gp6": MOBILE, b"3g2a": MOBILE,
}  # fmt: skip
_ISO_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
"""What such a file may begin with: ISO/IEC 14496-12. Old QuickTime files have no `ftyp`."""

_EBML = b"\x1aE\xdf\xa3"
_TS_SYNC = 0x47
_TS_PACKETS = ((0, 188), (4, 192))
"""Offset of the first sync byte and length of a packet; Blu-ray and cameras put 4 bytes of time before each."""

_ID3_HEADER = 10

_VIDEO_DECODERS = frozenset({
    "av1", "dnxhd", "dvvideo", "ffv1", "flv", "h263", "h264", "hevc", "huffyuv", "libdav1d", "libvpx", "libvpx-vp9",
    "mjpeg", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v2", "png", "prores", "qtrle", "rawvideo",
    "theora", "vc1", "vp8", "vp9", "vvc", "wmv1", "wmv2",
})  # fmt: skip
_AUDIO_DECODERS = frozenset({
    "aac", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "alac", "amrnb", "amrwb", "eac3", "flac", "libopus",
    "libspeex", "libvorbis", "mp2", "mp2float", "mp3", "mp3float", "opus", "pcm_alaw", "pcm_f32be", "pcm_f32le",
    "pcm_f64be", "pcm_f64le", "pcm_mulaw", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be",
    "pcm_s32le", "pcm_s8", "pcm_u8", "speex", "vorbis", "wmav1", "wmav2",
})  # fmt: skip
_DECODERS = _VIDEO_DECODERS | _AUDIO_DECODERS
"""FFmpeg's decoders that may run: the ones that people's files need, of the 500 that it has."""


def identify(data: bytes) -> Container | None:
    """What kind of video or recording a file is, or `None` if it is none that this library reads.

    Args:
        data: The file, or its first `HEAD` bytes.
    """
    for prefix, at, mark, found in _MARKS:
        if data.startswith(prefix) and data[at : at + len(mark)] == mark:
            return found
    if data[4:8] in _ISO_BOXES:
        return _iso(data)
    if data.startswith(_EBML):
        return WEBM if b"webm" in data[:64] else MKV
    if data.startswith(b"OggS"):
        return OGV if b"theora" in data[:HEAD] else OGG
    if any(_in_step(data, first, length) for first, length in _TS_PACKETS):
        return MPEG_TS
    return _mpeg_audio(data)


def _iso(data: bytes) -> Container | None:
    """By the major brand; a picture (HEIC, AVIF) is `None`."""
    if data[4:8] != b"ftyp":
        return MOV
    return None if sniff(data) else _BRANDS.get(data[8:12], MP4)


def _in_step(data: bytes, first: int, length: int) -> bool:
    """Whether three packets of a transport stream begin where they should."""
    return len(data) > first + 2 * length and all(data[first + n * length] == _TS_SYNC for n in range(3))


_RESERVED_VERSION, _RESERVED_RATE, _RESERVED_ADTS_RATE = 1, 3, 13
_LAYERS_3_AND_2 = frozenset({1, 2})
_NO_BIT_RATE = frozenset({0, 15})


def _mpeg_audio(data: bytes) -> Container | None:
    """MP3 or AAC by the header of a frame: ISO/IEC 11172-3 section 2.4.2.3, ISO/IEC 13818-7 table 8.

    Layer I is left out: nobody uses it, and UTF-16 text begins like it.
    """
    word = int.from_bytes(data[:4], "big") if len(data) > _ID3_HEADER else 0
    sync, version, layer = word >> 20, word >> 19 & 3, word >> 17 & 3
    if sync == 0xFFF and layer == 0:  # noqa: PLR2004 - twelve bits that are set
        return AAC if word >> 10 & 15 < _RESERVED_ADTS_RATE else None
    bit_rate, rate = word >> 12 & 15, word >> 10 & 3
    valid = sync | 1 == 0xFFF and version != _RESERVED_VERSION and layer in _LAYERS_3_AND_2  # noqa: PLR2004
    return MP3 if valid and bit_rate not in _NO_BIT_RATE and rate != _RESERVED_RATE else None


def _identify_file(file: BinaryIO) -> tuple[bytes, Container | None]:
    """The first bytes, and what they say; a tag of ID3 is skipped, since AAC and FLAC may have one as well."""
    file.seek(0)
    head = file.read(HEAD)
    found = identify(head)
    if found is MP3 and head.startswith(b"ID3") and len(head) >= _ID3_HEADER:
        size = sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(head[6:_ID3_HEADER]))
        file.seek(_ID3_HEADER + size)
        found = {AAC: AAC, FLAC: FLAC}.get(identify(file.read(HEAD)) or MP3, MP3)
    return head, found


@contextlib.contextmanager
def opened(
    file: BinaryIO, *, wanted: Medium, label: str, stop: threading.Event | None = None
) -> Generator[InputContainer]:
    """Open a video or recording with PyAV, and close it again. The file's position is put back, the file stays open.

    Args:
        file: Binary and seekable; read from its start.
        wanted: `video` refuses recordings; `audio` takes videos too, for their sound track.
        label: How to call the file in an error.
        stop: Set from another thread to give up at the next read.

    Raises:
        InvalidMediaError: It is no video or recording that can be read, or it cannot be read.
        UnsupportedContentError: It is another kind of medium.
        ConfigurationError: PyAV is not installed.
        CancelledError: `stop` was set (that of `concurrent.futures`).
    """
    source = _Source(file, label, stop)
    position = source.tell()
    try:
        found = _checked(*_identify_file(cast("BinaryIO", source)), wanted, label)
        av = pyav()
        source.seek(0)
        try:
            container = av.open(
                source,
                "r",
                format=found.demuxer,
                options={"max_pixels": str(MAX_FRAME_PIXELS)},
                container_options={
                    "protocol_whitelist": "none",
                    "format_whitelist": found.demuxer,
                    "codec_whitelist": ",".join(sorted(_DECODERS)),
                },
                metadata_errors="replace",
                io_open=_refuse_to_open,
            )
        except av.FFmpegError as error:
            raise InvalidMediaError(
                f"{label} looks like {found.name}, but cannot be opened: it is cut off or broken ({reason(error)})."
            ) from error
        with container:
            yield container
    finally:
        source.restore(position)


def _checked(head: bytes, found: Container | None, wanted: Medium, label: str) -> Container:
    medium = "video" if wanted == "video" else "recording"
    if found is None:
        picture = sniff(head)
        if picture:
            raise UnsupportedContentError(f"{label} is not a {medium}, but a {NAMES[picture]} picture: send it so.")
        raise InvalidMediaError(
            f"{label} is not a {medium} of a known kind: it looks like {lookalike(head).name}. MP4, MOV, WebM, "
            "Matroska, AVI, MPEG-TS and Ogg are read as videos, WAV, MP3, FLAC, Ogg, M4A, AAC and AIFF as recordings."
        )
    if wanted == "video" and found.medium == "audio":
        raise UnsupportedContentError(f"{label} is not a video, but {found.name}: send it as audio.")
    return found


def _refuse_to_open(*_args: Any) -> NoReturn:
    raise InvalidMediaError("The file refers to another file, which is not opened.")


def pyav() -> ModuleType:
    """The `av` package.

    Raises:
        ConfigurationError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ConfigurationError(NEEDS_PYAV) from error
    return av


def prepare_decoder(context: Any, label: str) -> None:
    """Set the bounds of a stream's decoder, before the first packet.

    Args:
        context: The stream's `CodecContext`; `None` where FFmpeg has no decoder.
        label: How to call the file in an error.

    Raises:
        InvalidMediaError: The decoder is none of the table.
    """
    if context is None or context.name not in _DECODERS:
        how = f"with {context.name}" if context is not None else "in an unknown way"
        raise InvalidMediaError(f"{label} is encoded {how}, which is not decoded here. Convert it to MP4 (H.264, AAC).")
    context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
    context.thread_type = "AUTO"
    context.thread_count = MAX_THREADS


def is_marked(stream: Any, name: str) -> bool:
    """Whether a stream's disposition has a flag, such as `default` or `attached_pic`."""
    marks: Any = stream.disposition
    return bool(marks & getattr(marks.__class__, name))


def reason(error: Exception) -> str:
    """FFmpeg's own words, without the name that PyAV puts behind them."""
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")[:120]


def check_stop(stop: threading.Event | None) -> None:
    """Give up where another thread asks for it.

    Raises:
        CancelledError: `stop` is set.
    """
    if stop is not None and stop.is_set():
        raise CancelledError


class _Source:
    """All that FFmpeg sees of a file: bytes, never a name.

    PyAV copies what `read` gives into a buffer of the size it asked for without looking, so that a file object that
    gives more must not get through.
    """

    def __init__(self, file: BinaryIO, label: str, stop: threading.Event | None) -> None:
        self._file = file
        self._label = label
        self._stop = stop

    def read(self, size: int) -> bytes:
        check_stop(self._stop)
        try:
            data: Any = self._file.read(size)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        if not isinstance(data, bytes) or len(data) > size:
            raise InvalidMediaError(f"{self._label} cannot be read: its read() gave something else than it was asked.")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        check_stop(self._stop)
        if whence == 0 and offset < 0:
            return -1  # a broken file sends FFmpeg there; to it this is an ordinary failure
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError) as error:
            raise self._unreadable(error) from error

    def tell(self) -> int:
        try:
            return self._file.tell()
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def restore(self, position: int) -> None:
        """Put the position back; a file that the caller has closed meanwhile has none."""
        with contextlib.suppress(ValueError):
            self._file.seek(position)

    def _unreadable(self, error: Exception) -> InvalidMediaError:
        return InvalidMediaError(
            f"{self._label} cannot be read: {error}. It must be open, in binary mode and seekable."
        )
