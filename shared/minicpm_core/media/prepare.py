"""From one source to the parts that a server takes: what is read, decoded, sampled and encoded, and by whom.

Everything here may take long and is called in a worker thread by asynchronous clients; the codecs are imported where
they are first needed.
"""

from __future__ import annotations

import binascii
import contextlib
import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from minicpm_core.errors import InvalidMediaError, UnsupportedContentError
from minicpm_core.media import base64text, sources
from minicpm_core.media.cache import PICTURES
from minicpm_core.media.containers import HEAD, identify
from minicpm_core.media.images import load_image
from minicpm_core.media.read import Read, opened, read
from minicpm_core.media.sniff import NAMES, lookalike, sniff
from minicpm_core.parts import (
    AudioPart,
    AudioSource,
    DocumentSource,
    FileBody,
    FramesPart,
    ImagePart,
    ImageSource,
    TextPart,
    UrlPart,
    VideoPart,
    VideoSampling,
    VideoSource,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator, Hashable

    from minicpm_core.backends import Backend
    from minicpm_core.media.limits import MediaLimits
    from minicpm_core.media.settings import MediaSettings
    from minicpm_core.media.video import Frame
    from minicpm_core.models import ModelCard
    from minicpm_core.parts import Prepared, Source


class Preparer:
    """Prepares media for one server and model.

    Args:
        backend: What the server takes.
        card: What the model takes.
        settings: As the client is set.
        stop: Set by another thread to give up.
    """

    def __init__(
        self, backend: Backend, card: ModelCard, settings: MediaSettings, stop: threading.Event | None = None
    ) -> None:
        self._backend = backend
        self._card = card
        self._settings = settings
        self._limits = settings.media_limits
        self._stop = stop

    def prepare(self, source: Source) -> tuple[Prepared, ...]:
        """The parts of one source, in order.

        Raises:
            InvalidMediaError: It is missing, broken, too large, or not what it should be.
            UnsupportedContentError: The model or the server does not take it.
            ConfigurationError: A library that is needed is not installed.
        """
        handler = _HANDLERS.get(type(source))
        if handler is None:
            raise UnsupportedContentError(f"{type(source).__name__} is no medium that can be sent.")
        if source.noun in _MODALITIES and self._card.known and source.noun not in self._card.modalities:
            raise UnsupportedContentError(f"{self._card.name} takes no {source.noun}: {_TAKES[source.noun]}")
        return handler(self, source)

    def _image(self, source: ImageSource) -> tuple[Prepared, ...]:
        if self._passes(source, taken=self._backend.image_urls):
            return (UrlPart("image", source.value, source.detail),)
        settings = self._settings
        return load_image(
            source,
            accept=self._backend.image_types,
            limits=self._limits,
            detail=settings.image_detail,
            quality=settings.image_quality,
            frames=settings.image_frames,
            read=self.read,
        )

    def _video(self, source: VideoSource) -> tuple[Prepared, ...]:
        if self._passes(source, taken=self._backend.video_urls):
            return (UrlPart("video", source.value, sampling=self._server_sampling(source)),)
        if source.as_is:
            return (self._video_file(source),)
        from minicpm_core.media.video import sample_frames

        sampling, quality = source.sampling or self._settings.video_sampling, self._settings.image_quality
        shape = self._backend.video
        with self._opened(source) as (label, file):
            content = _content_key(source, file)
            key = (content, sampling, quality, shape, self._limits)
            kept = None if content is None else PICTURES.get(key)
            if kept is not None:
                return kept
            frames = sample_frames(
                file,
                sampling,
                limits=self._limits,
                label=label,
                stop=self._stop,
                progress=self._progress("video"),
            )
            parts = _SHAPES[shape](frames, quality, label)
        if content is not None:
            PICTURES.put(key, parts)
        return parts

    def _video_file(self, source: VideoSource) -> VideoPart:
        if self._backend.video == "images":
            raise UnsupportedContentError(
                f"{self._backend.title} takes no video files, so a video cannot be sent as it is: leave as_is out, and "
                "its frames are sent as pictures."
            )
        if source.kind == "path":
            path = Path(os.fspath(sources.checked_path(source.value, source.noun)))
            with opened(source) as (label, file):
                size = os.fstat(file.fileno()).st_size
                kind = _video_type(file.read(HEAD), label)
            return VideoPart(FileBody(str(path), size), kind, sampling=self._server_sampling(source))
        found = self.read(source, self._limits)
        data = _data(found)
        kind = _video_type(data[:HEAD], found.label)
        return VideoPart(found.text or _base64(data), kind, sampling=self._server_sampling(source))

    def _server_sampling(self, source: VideoSource) -> VideoSampling | None:
        """What the server is asked to take of a video that is not sampled here; nothing where nobody set anything."""
        client = self._settings.video_sampling
        return source.sampling or (None if client == VideoSampling() else client)

    def _audio(self, source: AudioSource) -> tuple[Prepared, ...]:
        if self._backend.audio is None:
            raise UnsupportedContentError(f"{self._backend.title} takes no audio.")
        if self._passes(source, taken=self._backend.audio_urls):
            return (UrlPart("audio", source.value),)
        from minicpm_core.media.audio import to_wav

        with self._opened(source) as (label, file):
            kind = identify(file.read(HEAD))
            file.seek(0)
            form = _AUDIO_FORMATS.get(kind.media_type) if kind else None
            if form in self._backend.audio_types and form not in {None, "wav"}:
                return (AudioPart(_base64(self._whole(file, label)), str(form)),)
            recording = to_wav(file, limits=self._limits, label=label, stop=self._stop)
        return (AudioPart(_base64(recording.data), recording.format, recording.seconds),)

    def _whole(self, file: BinaryIO, label: str) -> bytes:
        data = file.read(self._limits.max_bytes + 1)
        if len(data) > self._limits.max_bytes:
            raise InvalidMediaError(f"{label} is too large: the limit is {self._limits.max_bytes} bytes.")
        return data

    def _document(self, source: DocumentSource) -> tuple[Prepared, ...]:
        from minicpm_core.media import documents

        found = self.read(source, self._limits)
        data = _data(found)
        name = source.name or ""
        if not documents.is_pdf(data):
            text = documents.read_text(data, label=found.label, max_characters=self._limits.max_bytes)
            return (TextPart(f"{name}:\n{text}" if name else text),)
        pages = documents.read_pages(
            data,
            pages=source.pages,
            max_pages=self._settings.document_pages,
            max_pixels=documents.PAGE_PIXELS,
            with_text=source.with_text,
            label=found.label,
            stop=self._stop,
        )
        parts: list[Prepared] = []
        for page in pages:
            title = f"{name}, page {page.number}:" if name else f"Page {page.number}:"
            parts.append(TextPart(f"{title}\n{page.text}" if page.text else title))
            parts += load_image(
                ImageSource("pil", page.image),
                accept=self._backend.image_types,
                limits=self._limits,
                quality=self._settings.image_quality,
            )
        return tuple(parts)

    def _passes(self, source: Source, *, taken: bool) -> bool:
        """Whether the server is to fetch it itself.

        Raises:
            UnsupportedContentError: It is a URL, and URLs are not wanted or not taken.
        """
        if source.kind != "url" or self._settings.media_urls == "fetch":
            return False
        if self._settings.media_urls == "refuse":
            raise UnsupportedContentError(f'The {source.noun} is at a URL, and media_urls="refuse" is set.')
        if not taken:
            raise UnsupportedContentError(
                f'{self._backend.title} fetches no {source.noun} from URLs: set media_urls="fetch", or send its bytes.'
            )
        return True

    def read(self, source: Source, limits: MediaLimits) -> Read:
        """The file of a source of any kind but `pil`, fetched where it is at a URL and that is allowed.

        Raises:
            InvalidMediaError: It cannot be read or fetched, or is too large.
            UnsupportedContentError: It is at a URL, and those are refused.
        """
        if source.kind != "url":
            return read(source, limits)
        if self._settings.media_urls == "refuse":
            raise UnsupportedContentError(f'The {source.noun} is at a URL, and media_urls="refuse" is set.')
        from minicpm_core.media.fetch import fetch

        data = fetch(
            source.value,
            max_bytes=limits.max_bytes,
            hosts=self._settings.media_hosts,
            seconds=_FETCH_SECONDS[source.noun],
            stop=self._stop,
            what=source.noun,
        )
        return Read(f"The {source.noun} from the URL", data)

    @contextlib.contextmanager
    def _opened(self, source: Source) -> Generator[tuple[str, BinaryIO]]:
        """A source as a file, without reading it whole where it is one."""
        if source.kind in {"path", "file"}:
            with opened(source) as found:
                yield found
            return
        got = self.read(source, self._limits)
        yield got.label, io.BytesIO(_data(got))

    def _progress(self, what: str) -> Callable[[float], None] | None:
        told = self._settings.media_progress
        return None if told is None else lambda fraction: told(what, fraction)


_FETCH_SECONDS = {"image": 60.0, "document": 60.0, "audio": 120.0, "video": 300.0}
_MODALITIES = frozenset({"image", "video", "audio"})
_TAKES = {
    "image": "send its text, or choose a vision model.",
    "video": "choose a MiniCPM-V or MiniCPM-o model.",
    "audio": "MiniCPM-o does, such as MiniCPM-O-4.5-9B.",
}


_AUDIO_FORMATS = {"audio/wav": "wav", "audio/mpeg": "mp3", "audio/flac": "flac"}


def _video_type(head: bytes, label: str) -> str:
    kind = identify(head)
    if kind is None or kind.medium != "video":
        looks = kind.name if kind else NAMES.get(sniff(head) or "", lookalike(head).name)
        raise InvalidMediaError(f"{label} is no video: it looks like {looks}.")
    return kind.media_type


def _content_key(source: Source, file: BinaryIO) -> Hashable | None:
    """What tells a file from others: of one at a path, which it is and when it was changed; of data, its hash.

    `None` for a file object, which may be anything.
    """
    if source.kind == "path":
        found = os.fstat(file.fileno())
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
    if isinstance(file, io.BytesIO) and source.kind != "file":
        return hashlib.sha256(file.getbuffer()).digest()
    return None


def _data(found: Read) -> bytes:
    return base64text.decode(found.text) if found.data is None else found.data


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)


def _as_mp4(frames: list[Frame], _quality: int, label: str) -> tuple[Prepared, ...]:
    from minicpm_core.media.video import to_mp4

    width, height = frames[0].image.size
    return (VideoPart(_base64(to_mp4(frames, label=label)), "video/mp4", len(frames), width, height),)


def _as_frames(frames: list[Frame], quality: int, _label: str) -> tuple[Prepared, ...]:
    from minicpm_core.media.video import to_jpegs

    width, height = frames[0].image.size
    return (FramesPart(tuple(map(_base64, to_jpegs(frames, quality=quality))), width, height),)


def _as_images(frames: list[Frame], quality: int, _label: str) -> tuple[Prepared, ...]:
    from minicpm_core.media.video import to_jpegs

    parts: list[Prepared] = []
    for frame, jpeg in zip(frames, to_jpegs(frames, quality=quality), strict=True):
        minutes, seconds = divmod(frame.seconds, 60)
        parts.append(TextPart(f"[video at {int(minutes):02d}:{seconds:04.1f}]"))
        parts.append(ImagePart(_base64(jpeg), "image/jpeg", *frame.image.size))
    return tuple(parts)


_SHAPES: dict[str, Callable[[list[Frame], int, str], tuple[Prepared, ...]]] = {
    "mp4": _as_mp4,
    "jpeg_frames": _as_frames,
    "input_video": _as_mp4,
    "images": _as_images,
}
_HANDLERS = cast(
    "dict[type, Callable[[Preparer, Any], tuple[Prepared, ...]]]",
    {
        ImageSource: Preparer._image,  # noqa: SLF001 - a table of its own methods
        VideoSource: Preparer._video,  # noqa: SLF001
        AudioSource: Preparer._audio,  # noqa: SLF001
        DocumentSource: Preparer._document,  # noqa: SLF001
    },
)
