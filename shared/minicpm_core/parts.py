"""What a message consists of: text, and media before and after they are prepared.

A *source* says where a medium comes from; nothing of it was read.  `minicpm_core.media` turns sources into *parts* that
are ready to be sent, in the form that the server takes: one source may become several parts (the pages of a document,
the frames of a video).

    TextPart
    ImageSource     ->  ImagePart (or several: tiles, pages, frames)
    VideoSource     ->  VideoPart, FramesPart, or TextPart and ImagePart by turns
    AudioSource     ->  AudioPart
    DocumentSource  ->  TextPart and ImagePart
    any of them     ->  UrlPart, where the server is to fetch it itself
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from minicpm_core.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable

SourceKind: TypeAlias = Literal["path", "bytes", "file", "pil", "data_url", "base64", "url"]
"""How a medium was handed over, which decides how it may be read. `pil` is for pictures only."""

Detail: TypeAlias = Literal["auto", "low", "high", "original"]
"""How much of a picture is sent: see `minicpm_core.media.detail`."""

_LEAST_FPS, _MOST_FPS = 1 / 86_400, 1000
_MOST = 10**9

TILE_PIXELS = 448 * 448
"""Pixels of one tile, as all MiniCPM-V models cut pictures."""


@dataclass(frozen=True, slots=True)
class TextPart:
    """A run of text inside a message."""

    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """A medium that has not been read yet.

    Attributes:
        kind: How to read `value`. A `path` is only ever made by code, never from a URL field or a model's words.
        value: A path, bytes, a binary file object, a `PIL.Image.Image`, or text, as `kind` says.
        media_type: What the caller says it is. Only a hint: the magic bytes decide.
    """

    noun: ClassVar[str] = "medium"
    """How to call it in a message."""

    kind: SourceKind
    value: Any = field(repr=False)
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class ImageSource(Source):
    """A picture that has not been read yet.

    Attributes:
        detail: How much of it to send; `None` for the client's own setting. `auto`, `low` and `high` of the Chat
            Completions API are read as ours.
    """

    noun: ClassVar[str] = "image"

    detail: str | None = None


@dataclass(frozen=True, slots=True)
class VideoSampling:
    """Which frames of a video are sent, and how large.

    Attributes:
        fps: Frames a second to take. `None` takes one a second, or fewer where that would be more than `num_frames`.
        num_frames: The most frames. With `fps`, frames are still taken evenly over the whole clip if there are more.
        max_pixels: The most pixels (width x height) of a frame. The default keeps it to one tile: about 66 tokens
            where 720p costs 444.
        start: Seconds to begin at.
        end: Seconds to end at; `None` for the end of the video.

    Raises:
        InvalidInputError: A value is impossible.
    """

    fps: float | None = None
    num_frames: int = 32
    max_pixels: int = TILE_PIXELS
    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not _LEAST_FPS <= self.fps <= _MOST_FPS:
            raise InvalidInputError(f"fps must be above 0, from one frame a day to {_MOST_FPS} a second.")
        if not (1 <= self.num_frames <= _MOST and 1 <= self.max_pixels <= _MOST):
            raise InvalidInputError("num_frames and max_pixels must be 1 or more, and within reason.")
        if not 0 <= self.start <= _MOST:
            raise InvalidInputError(f"start must be 0 or more seconds, not {self.start}.")
        if self.end is not None and not self.end > self.start:
            raise InvalidInputError(f"end ({self.end} s) must be after start ({self.start:g} s).")


@dataclass(frozen=True, slots=True)
class VideoSource(Source):
    """A video that has not been read yet.

    Attributes:
        sampling: Which frames to send; `None` for the client's own setting.
        as_is: Send the file itself, undecoded, and leave the sampling to the server. A file at a path is then read in
            pieces while it is sent, however large it is.
    """

    noun: ClassVar[str] = "video"

    sampling: VideoSampling | None = None
    as_is: bool = False


@dataclass(frozen=True, slots=True)
class AudioSource(Source):
    """A recording that has not been read yet."""

    noun: ClassVar[str] = "audio"


@dataclass(frozen=True, slots=True)
class DocumentSource(Source):
    """A PDF, plain text or Markdown file that has not been read yet.

    Attributes:
        name: What to call it in the prompt; `None` for no name.
        pages: First and last page to send, counted from 1, both included; `None` for all, up to the client's cap.
        with_text: Send the text layer of each page beside its picture.
    """

    noun: ClassVar[str] = "document"

    name: str | None = None
    pages: tuple[int, int] | None = None
    with_text: bool = False


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A picture that has been read, checked and encoded, ready to be spliced into a request.

    Attributes:
        base64: The encoded file as ASCII bytes, without the `data:` prefix.
        media_type: The true MIME type, such as `image/jpeg`.
        width: Pixels, after the EXIF orientation was applied.
        height: Pixels, after the EXIF orientation was applied.
        detail: OpenAI's `detail` hint, passed on only when given.
    """

    base64: bytes = field(repr=False)
    media_type: str
    width: int
    height: int
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class FileBody:
    """A file that is read, and encoded, while the request is sent.

    Attributes:
        path: The file. It must stay as it is until the answer begins.
        size: Bytes; a file that has another size when it is sent is an error.
    """

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class VideoPart:
    """A video file, ready to be sent.

    Attributes:
        data: The file as Base64 in ASCII bytes, or a file to be read while it is sent.
        media_type: Such as `video/mp4`.
        frames: Frames in it; `None` where it was not decoded.
        width: Pixels of a frame; 0 where it was not decoded.
        height: Pixels of a frame; 0 where it was not decoded.
        sampling: What the server is asked to take of it; `None` where the frames were chosen already.
    """

    data: bytes | FileBody = field(repr=False)
    media_type: str
    frames: int | None = None
    width: int = 0
    height: int = 0
    sampling: VideoSampling | None = None


@dataclass(frozen=True, slots=True)
class FramesPart:
    """A video as its frames: JPEG pictures of one size, as Base64 in ASCII bytes, in order."""

    frames: tuple[bytes, ...] = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class AudioPart:
    """A recording, ready to be sent.

    Attributes:
        base64: The file as ASCII bytes.
        format: `wav`, `mp3` or `flac`.
        seconds: How long it is; `None` where it was not decoded.
    """

    base64: bytes = field(repr=False)
    format: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class UrlPart:
    """A medium that the server fetches itself.

    Attributes:
        medium: What it is.
        url: An http(s) URL.
        detail: OpenAI's `detail` hint.
        sampling: Of a video: what the server is asked to take of it; `None` leaves it to the server.
    """

    medium: Literal["image", "video", "audio"]
    url: str
    detail: str | None = None
    sampling: VideoSampling | None = None


Prepared: TypeAlias = TextPart | ImagePart | VideoPart | FramesPart | AudioPart | UrlPart
"""What a request is made of."""

Part: TypeAlias = Source | Prepared
"""What a message may hold."""


def text_of(parts: Iterable[Part]) -> str:
    """Text parts as one string, joined as the chat templates join parts."""
    return "\n".join(part.text for part in parts if isinstance(part, TextPart) and part.text)
