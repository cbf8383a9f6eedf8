"""What there is to caption in a blob: a picture, the pages of a PDF, or frames of a video, one after the other."""

from __future__ import annotations

import contextlib
import io
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from minicpm_core.captions.sources import MediaPage, draw_page
from minicpm_core.errors import InvalidMediaError, MiniCPMError
from minicpm_core.media import pdfium
from minicpm_core.media.containers import HEAD, identify
from minicpm_core.media.read import opened, read
from minicpm_core.media.sources import from_path
from minicpm_core.media.video import sample_frames, to_jpegs
from minicpm_core.parts import ImageSource

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_core.documents.base import Blob

    from minicpm_core.captions.plan import Captionable
    from minicpm_core.media.limits import MediaLimits
    from minicpm_core.parts import VideoSampling


@dataclass(frozen=True, slots=True)
class Item:
    """Something to caption.

    Attributes:
        medium: A picture, read or not; `None` where there was an error.
        metadata: Of its document.
        error: Why nothing of the blob can be read.
    """

    medium: Captionable | None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    error: MiniCPMError | None = None

    @property
    def id(self) -> str | None:
        """The same for the same place, so that a store replaces what was there; `None` where the place is unknown."""
        place = [self.metadata.get(name) for name in ("source", "page", "time")]
        return str(uuid.uuid5(uuid.NAMESPACE_URL, repr(place))) if place[0] else None


def item_of(page: MediaPage) -> Item:
    """What `find_media` found."""
    metadata: dict[str, Any] = {"source": str(page.path), "kind": "picture"}
    if page.page is not None:
        metadata |= {"kind": "page", "page": page.page, "total_pages": page.page_count}
    return Item(page, metadata)


def items(blob: Blob, *, sampling: VideoSampling, limits: MediaLimits) -> Generator[Item]:
    """What there is in a blob. A page in memory is drawn when its turn comes, one in a file by whoever reads it.

    Args:
        blob: Told by its first bytes, not by its MIME type.
        sampling: Which frames of a video.
        limits: Bounds on bytes, pixels and seconds.
    """
    known = dict(blob.metadata or {}) | ({"source": str(blob.source)} if blob.source else {})
    try:
        with _file(blob, limits) as (label, file):
            head = file.read(HEAD)
            file.seek(0)
            container = identify(head)
            if pdfium.is_pdf(head):
                yield from _pages(blob, file, known, label=label, limits=limits)
            elif container is not None and container.medium == "video":
                frames = sample_frames(file, sampling, limits=limits, label=label)
                for frame, data in zip(frames, to_jpegs(frames), strict=True):
                    yield Item(data, {**known, "kind": "frame", "time": round(frame.seconds, 3)})
            elif container is not None:
                raise InvalidMediaError(f"{label} is a recording: it shows nothing that could be described.")
            else:
                yield Item(_on_disk(blob) or file.read(), {**known, "kind": "picture"})
    except MiniCPMError as error:
        yield Item(None, known, error)


def _pages(blob: Blob, file: BinaryIO, known: dict[str, Any], *, label: str, limits: MediaLimits) -> Generator[Item]:
    with pdfium.opened(file, label) as document, pdfium.lock():
        count = len(document)
    path = _on_disk(blob)
    for number in range(1, count + 1):
        page = MediaPage(path, number, count) if path else draw_page(file, number, limits=limits, label=label)
        yield Item(page, {**known, "kind": "page", "page": number, "total_pages": count})


def _on_disk(blob: Blob) -> Path | None:
    """Where its content is, unless it is in memory: a path beside data only names it."""
    return Path(blob.path) if blob.data is None and blob.path is not None else None


@contextlib.contextmanager
def _file(blob: Blob, limits: MediaLimits) -> Generator[tuple[str, BinaryIO]]:
    path = _on_disk(blob)
    if path is not None:
        with opened(from_path(ImageSource, path)) as found:
            yield found
        return
    found = read(ImageSource("bytes", blob.as_bytes()), limits)
    yield f"The blob {str(blob.source)!r}" if blob.source else "The blob", io.BytesIO(found.data or b"")
