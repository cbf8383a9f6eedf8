"""Content parts as the JSON objects of a request, in the shapes of the server's row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from minicpm_core.errors import InvalidInputError, UnsupportedContentError
from minicpm_core.parts import (
    AudioPart,
    FileBody,
    FramesPart,
    ImagePart,
    Source,
    TextPart,
    UrlPart,
    VideoPart,
    VideoSampling,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from minicpm_core.backends import Backend
    from minicpm_core.parts import Part
    from minicpm_core.types import Message

    Splice: TypeAlias = "Callable[[bytes | FileBody], str]"
    Rendered: TypeAlias = "dict[str, Any]"

_SERVERS_FRAMES = 32
"""Frames that vLLM takes of a video unless the request says otherwise (`VideoMediaIO`)."""


def render_part(part: Part, backend: Backend, splice: Splice) -> Rendered | None:
    """A part as a JSON object; `None` for an empty text.

    Args:
        part: Prepared.
        backend: The server's row.
        splice: Gives the text that stands in for Base64, or for a file that is sent as such.

    Raises:
        InvalidInputError: It was not prepared.
        UnsupportedContentError: It is no content part, or one of a shape that the server does not take.
    """
    handler = _HANDLERS.get(type(part))
    if handler is not None:
        return handler(part, backend, splice)
    if isinstance(part, Source):
        raise InvalidInputError(f"The {part.noun} was not read before the request was built.")
    raise UnsupportedContentError(f"{type(part).__name__} is no content part.")


def _text(part: TextPart, _backend: Backend, _splice: Splice) -> Rendered | None:
    return {"type": "text", "text": part.text} if part.text else None


def _image(part: ImagePart, _backend: Backend, splice: Splice) -> Rendered:
    return _image_url(f"data:{part.media_type};base64,{splice(part.base64)}", part.detail)


def _image_url(url: str, detail: str | None) -> Rendered:
    return {"type": "image_url", "image_url": {"url": url, "detail": detail} if detail else {"url": url}}


def _video(part: VideoPart, backend: Backend, splice: Splice) -> Rendered:
    data = splice(part.data)
    if backend.video == "input_video":
        return {"type": "input_video", "input_video": {"data": data}}
    if backend.video == "images":
        raise UnsupportedContentError(f"{backend.title} takes no video files.")
    return _video_url(f"data:{part.media_type};base64,{data}", part.sampling, backend)


def _video_url(url: str, sampling: VideoSampling | None, backend: Backend) -> Rendered:
    inner: dict[str, Any] = {"url": url}
    if sampling is not None and backend.video_sampling == "video_url":
        inner["max_frames"] = sampling.num_frames
        if sampling.fps is not None:
            inner["fps"] = sampling.fps
    return {"type": "video_url", "video_url": inner}


def _frames(part: FramesPart, backend: Backend, splice: Splice) -> Rendered:
    if backend.video != "jpeg_frames":
        raise UnsupportedContentError(f"{backend.title} takes no videos as lists of frames.")
    joined = ",".join(map(splice, part.frames))
    return {"type": "video_url", "video_url": {"url": f"data:video/jpeg;base64,{joined}"}}


def _audio(part: AudioPart, backend: Backend, splice: Splice) -> Rendered:
    data = splice(part.base64)
    if backend.audio == "audio_url":
        return _audio_url(f"data:{_AUDIO_TYPES[part.format]};base64,{data}")
    if backend.audio is None:
        raise UnsupportedContentError(f"{backend.title} takes no audio.")
    return {"type": "input_audio", "input_audio": {"data": data, "format": part.format}}


def _audio_url(url: str) -> Rendered:
    return {"type": "audio_url", "audio_url": {"url": url}}


def _url(part: UrlPart, backend: Backend, _splice: Splice) -> Rendered:
    if part.medium == "video":
        return _video_url(part.url, part.sampling, backend)
    return _audio_url(part.url) if part.medium == "audio" else _image_url(part.url, part.detail)


_AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac"}
_HANDLERS: dict[type, Callable[[Any, Backend, Splice], Rendered | None]] = {
    TextPart: _text,
    ImagePart: _image,
    VideoPart: _video,
    FramesPart: _frames,
    AudioPart: _audio,
    UrlPart: _url,
}


def sampling_fields(messages: Sequence[Message], backend: Backend) -> dict[str, Any]:
    """The field of a request that tells the server how to sample its videos; there is one for all of them.

    Args:
        messages: With their media prepared.
        backend: The server's row.

    Raises:
        InvalidInputError: Two videos ask for different sampling, or one for fewer frames than another has, and the
            server takes one for all.
    """
    if backend.video_sampling != "media_io_kwargs":
        return {}
    asked = list(_sampling(messages))
    frames = max(_numbers_of_frames(messages), default=0)
    if not asked:
        return {"media_io_kwargs": {"video": {"num_frames": frames}}} if frames > _SERVERS_FRAMES else {}
    if any(other != asked[0] for other in asked) or frames > asked[0]["num_frames"]:
        raise InvalidInputError(
            f"{backend.title} samples all videos of a request alike: give them the same sampling, or let this client "
            "take the frames (as_is=False)."
        )
    return {"media_io_kwargs": {"video": asked[0]}}


def _sampling(messages: Sequence[Message]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        for part in message.parts:
            if isinstance(part, VideoPart | UrlPart) and part.sampling is not None:
                fps = {"fps": part.sampling.fps} if part.sampling.fps is not None else {}
                yield {"num_frames": part.sampling.num_frames, **fps}


def _numbers_of_frames(messages: Sequence[Message]) -> Iterator[int]:
    """How many frames each list has; vLLM drops those beyond `num_frames`."""
    return (len(part.frames) for message in messages for part in message.parts if isinstance(part, FramesPart))
