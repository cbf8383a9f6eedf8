"""Media blocks of LangChain messages as the core's sources. Nothing is read or fetched here.

Every kind comes in several forms: LangChain's standard blocks of version 1 (`base64`, `url`, `file_id`) and 0
(`source_type`, `data`), those of the Chat Completions API and of MiniCPM's servers (`image_url`, `input_audio` …), and
Anthropic's (`source`).  A path is never read from any of them, since a message may come from a user, a tool or a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeGuard, TypeVar, cast

from minicpm_core.errors import InvalidInputError, UnsupportedContentError
from minicpm_core.media.sources import from_base64, from_url
from minicpm_core.parts import (
    AudioSource,
    DocumentSource,
    ImageSource,
    Part,
    Source,
    TextPart,
    VideoSampling,
    VideoSource,
)

Block = Mapping[Any, Any]
S = TypeVar("S", bound=Source)

_SAMPLING: Final = ("fps", "num_frames", "max_pixels", "start", "end")
_BY_TYPE: Final[tuple[tuple[str, type[Source]], ...]] = (
    ("image/", ImageSource),
    ("video/", VideoSource),
    ("audio/", AudioSource),
)


def _is_block(value: Any) -> TypeGuard[Block]:
    return isinstance(value, Mapping)


def _inner(value: Any) -> Block:
    return value if _is_block(value) else {}


def _standard(cls: type[S], block: Block, **more: Any) -> S:
    """A standard block, or one that keeps its data in `source`."""
    source = block.get("source")
    if _is_block(source):
        block = {"base64": source.get("data"), "url": source.get("url"), "file_id": source.get("file_id"),
                 "mime_type": source.get("media_type")}  # fmt: skip
    encoded = block.get("base64") or block.get("data")
    if isinstance(encoded, str | bytes):
        if encoded[:5] in {"data:", b"data:"}:
            return from_url(cls, encoded if isinstance(encoded, str) else encoded.decode("ascii", "replace"), **more)
        return from_base64(cls, encoded, block.get("mime_type"), **more)
    url = block.get("url")
    if isinstance(url, str):
        return from_url(cls, url, **more)
    if block.get("file_id") or block.get("source_type") == "id":
        raise UnsupportedContentError(
            f"A block of kind {cls.noun!r} with a file id cannot be sent: MiniCPM servers store no files. "
            "Send its bytes as Base64."
        )
    raise InvalidInputError(f"A block of kind {cls.noun!r} must have 'base64' or a URL under 'url'.")


def _by_url(cls: type[S], block: Block, key: str, **more: Any) -> S:
    """OpenAI's form: a URL, or an object with a URL, under the block's own type."""
    given = block.get(key)
    url = _inner(given).get("url") if isinstance(given, Mapping) else given
    if not isinstance(url, str):
        raise InvalidInputError(f"A block of type {key!r} must have a URL: {{{key!r}: {{'url': 'data:…'}}}}.")
    return from_url(cls, url, **more)


def _image(block: Block) -> Part:
    detail = block.get("detail") or _inner(block.get("extras")).get("detail")
    return _standard(ImageSource, block, detail=detail)


def _image_url(block: Block) -> Part:
    return _by_url(ImageSource, block, "image_url", detail=_inner(block.get("image_url")).get("detail"))


def _video(block: Block) -> Part:
    return _standard(VideoSource, block, **_video_fields(block, _inner(block.get("extras"))))


def _video_url(block: Block) -> Part:
    inner = _inner(block.get("video_url"))
    return _by_url(
        VideoSource, block, "video_url", **_video_fields(block, {"num_frames": inner.get("max_frames"), **inner})
    )


def _input_video(block: Block) -> Part:
    inner = _inner(block.get("input_video"))
    return _standard(VideoSource, inner, **_video_fields(block, inner))


def _video_fields(*places: Block) -> dict[str, Any]:
    """How to sample a video, and whether to send it as it is, from where a block may say so."""
    told: dict[str, Any] = {}
    for place in places:
        told |= {name: place[name] for name in (*_SAMPLING, "as_is") if place.get(name) is not None}
    as_is = bool(told.pop("as_is", False))
    for name, value in told.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidInputError(f"{name} of a video block must be a number, not {type(value).__name__}.")
    for name in ("num_frames", "max_pixels"):
        if name in told:
            told[name] = int(told[name])
    return {"sampling": VideoSampling(**told) if told else None, "as_is": as_is}


def _audio(block: Block) -> Part:
    return _standard(AudioSource, block)


def _input_audio(block: Block) -> Part:
    return _standard(AudioSource, _inner(block.get("input_audio")))


def _audio_url(block: Block) -> Part:
    return _by_url(AudioSource, block, "audio_url")


def _file(block: Block) -> Part:
    """A file of any kind, which its MIME type tells; a document where it says nothing."""
    inner = _inner(block.get("file"))
    if inner:  # OpenAI's
        block = {"data": inner.get("file_data"), "file_id": inner.get("file_id"), "filename": inner.get("filename")}
    extras = _inner(block.get("extras"))
    declared = str(block.get("mime_type") or "").lower()
    for beginning, cls in _BY_TYPE:
        if declared.startswith(beginning):
            return _standard(cls, block)
    name = block.get("filename") or extras.get("filename") or extras.get("name")
    pages = extras.get("pages")
    if pages is not None and not (isinstance(pages, list | tuple) and len(cast("list[Any]", pages)) == 2):  # noqa: PLR2004
        raise InvalidInputError("pages of a file block must be the first and the last page, such as [1, 3].")
    return _standard(
        DocumentSource,
        block,
        name=str(name) if name else None,
        pages=None if pages is None else (int(cast("list[Any]", pages)[0]), int(cast("list[Any]", pages)[1])),
        with_text=bool(extras.get("with_text")),
    )


def _document(block: Block) -> Part:
    """Anthropic's form; its text sources are text already."""
    source = _inner(block.get("source"))
    title = block.get("title")
    if source.get("type") == "text":
        text = str(source.get("data") or "")
        return TextPart(f"{title}:\n{text}" if title else text)
    return _standard(DocumentSource, block, name=str(title) if title else None)


MEDIA_READERS: Final[dict[str, Callable[[Block], Part | None]]] = {
    "audio": _audio,
    "audio_url": _audio_url,
    "document": _document,
    "file": _file,
    "image": _image,
    "image_url": _image_url,
    "input_audio": _input_audio,
    "input_video": _input_video,
    "video": _video,
    "video_url": _video_url,
}
"""The readers of media blocks, by the block's type."""
