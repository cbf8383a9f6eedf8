"""Pictures, pages of PDFs and frames of videos as documents that a text search can find.

    loader = MiniCPMLoader("photos", parser=MiniCPMBlobParser(ChatMiniCPM(), cache="captions", on_error="skip"))
    store.add_documents(loader.load())

A document's text is what the model says of the picture, or the text that is legible in it; its metadata says where the
picture is, so that `multi_modal_documents` can show the original to the model that answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import warnings
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, get_args

from langchain_core.document_loaders import BaseBlobParser, BaseLoader
from langchain_core.documents import Document

from langchain_minicpm._blobs import Item, item_of, items
from langchain_minicpm._captioning import AsyncThrough, Through
from langchain_minicpm._guard import langchain_errors
from langchain_minicpm._settings import config_of, request_options
from langchain_minicpm.chat_models import ChatMiniCPM
from minicpm_core.captions import AsyncCaptioner, CaptionCache, Captioned, Captioner, find_media
from minicpm_core.captions.work import ain_order, checked_workers, in_order
from minicpm_core.errors import ConfigurationError
from minicpm_core.parts import VideoSampling
from minicpm_core.protocol.request import MiniCPMWarning

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator
    from pathlib import Path

    from langchain_core.documents.base import Blob

    from minicpm_core.captions import MediaPage
    from minicpm_core.captions.sources import MediaPaths
    from minicpm_core.errors import MiniCPMError

Mode: TypeAlias = Literal["caption", "ocr", "structured"]
"""What a document's text is: a description, the legible text, or both with tables and names apart."""

OnError: TypeAlias = Literal["raise", "skip", "keep"]
"""What becomes of a picture that gets no text: its error is raised, it is left out with a warning, or it becomes a
document without text whose metadata has the `error`."""

OCR_PROMPT: Final = (
    "Write down all text that is legible in this picture, word for word and in reading order, as Markdown; tables as "
    "Markdown tables. Write nothing else. If there is no text, say in one sentence what the picture shows."
)
"""What `mode="ocr"` asks."""

_FRAMES = VideoSampling(num_frames=8, max_pixels=1280 * 720)


class SkippedWarning(MiniCPMWarning):
    """A picture was left out, since it got no text."""


class MiniCPMBlobParser(BaseBlobParser):
    """Documents from blobs: one for a picture, one for each page of a PDF, one for each of some frames of a video.

    What a blob is, its first bytes tell.  Each document has an `id` that depends on where the picture is, so that a
    store replaces what it had of the same place, and this metadata, of types that every store takes:

    | key | is |
    | --- | --- |
    | `source` | the path, or what the blob says it comes from |
    | `kind` | `picture`, `page` or `frame` |
    | `page`, `total_pages` | of a PDF, counted from 1 |
    | `time` | seconds into a video |
    | `sha256` | of the picture that the model was shown |
    | `model` | which model was asked |

    Example:
        ```python
        parser = MiniCPMBlobParser(ChatMiniCPM(), mode="ocr", cache="captions")
        for document in parser.lazy_parse(Blob.from_path("report.pdf")):
            print(document.metadata["page"], document.page_content)
        ```
    """

    def __init__(
        self,
        llm: ChatMiniCPM | None = None,
        *,
        mode: Mode = "caption",
        prompt: str | None = None,
        cache: CaptionCache | str | os.PathLike[str] | None = None,
        on_error: OnError = "raise",
        concurrency: int = 4,
        video_sampling: VideoSampling | None = None,
    ) -> None:
        """Nothing is read or sent yet.

        Args:
            llm: Which model is asked; `ChatMiniCPM()` by default. Each picture is a call of `invoke` or `ainvoke`, so
                that callbacks, traces and rate limiters see it.
            mode: What is asked for.
            prompt: The words beside each picture instead of those of the mode.
            cache: A folder where answers are kept, so that no picture is paid for twice.
            on_error: What becomes of a picture that gets no text. Errors that every picture would meet (a wrong key, an
                unknown model, no credit left) are raised in any case.
            concurrency: Calls at a time. With 1, nothing is read or asked before it is wanted; with more, up to twice
                as many pictures are read and asked for ahead of the caller.
            video_sampling: Which frames of a video; by default 8, evenly spread, of at most 1280 x 720 pixels.

        Raises:
            ConfigurationError: A setting cannot be.
        """
        with langchain_errors():
            for name, given, kind in (("mode", mode, Mode), ("on_error", on_error, OnError)):
                if given not in get_args(kind):
                    raise ConfigurationError(f"{name} must be one of {', '.join(get_args(kind))}, not {given!r}.")
            self.concurrency = checked_workers(concurrency)
        self.llm = ChatMiniCPM() if llm is None else llm
        self.mode: Mode = mode
        self.prompt = OCR_PROMPT if prompt is None and mode == "ocr" else prompt
        self.cache = CaptionCache(cache) if isinstance(cache, str | os.PathLike) else cache
        self.on_error: OnError = on_error
        self.video_sampling = video_sampling or _FRAMES

    def lazy_parse(self, blob: Blob) -> Iterator[Document]:
        """The documents of a blob, as they come.

        Args:
            blob: A picture, a PDF or a video, in memory or in a file.

        Raises:
            MiniCPMError: A picture gets no text, and `on_error` is `raise`.
        """
        return self._documents(self._items(blob))

    def alazy_parse(self, blob: Blob) -> AsyncGenerator[Document]:
        """`lazy_parse` on an event loop, which is not blocked: files are read and drawn in threads.

        Args:
            blob: A picture, a PDF or a video, in memory or in a file.
        """
        return self._adocuments(_in_threads(self._items(blob)))

    async def aparse(self, blob: Blob) -> list[Document]:
        """`parse` on an event loop.

        Args:
            blob: A picture, a PDF or a video, in memory or in a file.
        """
        return [document async for document in self.alazy_parse(blob)]

    def _items(self, blob: Blob) -> Generator[Item]:
        limits = config_of(self.llm.__dict__).media.media_limits
        return items(blob, sampling=self.video_sampling, limits=limits)

    def _documents(self, found: Iterable[Item]) -> Generator[Document]:
        with langchain_errors():
            captioner = Captioner(cast("Any", Through(self.llm)), **self._settings())

            def captioned(item: Item) -> tuple[Item, Captioned]:
                return item, self._failed(item) or captioner.caption(cast("Any", item.medium))

            alone = self.concurrency == 1
            one_by_one = (captioned(item) for item in found)
            pairs = one_by_one if alone else in_order(found, captioned, workers=self.concurrency)
            with contextlib.closing(pairs) as results:
                for item, result in results:
                    document = self._document(item, result)
                    if document is not None:
                        yield document

    async def _adocuments(self, found: AsyncIterable[Item]) -> AsyncGenerator[Document]:
        with langchain_errors():
            captioner = AsyncCaptioner(cast("Any", AsyncThrough(self.llm)), **self._settings())

            async def captioned(item: Item) -> tuple[Item, Captioned]:
                return item, self._failed(item) or await captioner.caption(cast("Any", item.medium))

            async with contextlib.aclosing(ain_order(found, captioned, workers=self.concurrency)) as results:
                async for item, result in results:
                    document = self._document(item, result)
                    if document is not None:
                        yield document

    def _settings(self) -> dict[str, Any]:
        return {
            "cache": self.cache,
            "prompt": self.prompt,
            "structured": self.mode == "structured",
            "options": request_options(self.llm.__dict__, None, {}),
            "on_error": "raise" if self.on_error == "raise" else "skip",
            "concurrency": self.concurrency,
        }

    def _failed(self, item: Item) -> Captioned | None:
        """What becomes of an item that cannot be read; `None` of one that can."""
        if item.error is None:
            return None
        if self.on_error == "raise":
            raise item.error
        return Captioned(b"", None, None, item.error)

    def _document(self, item: Item, result: Captioned) -> Document | None:
        metadata = {**item.metadata, "model": self.llm.model}
        if result.sha256 is not None:
            metadata["sha256"] = result.sha256
        if result.caption is not None:
            return Document(result.caption.to_text(), metadata=metadata, id=item.id)
        problem = cast("MiniCPMError", result.error)
        told = f"{type(problem).__name__}: {problem}"
        if self.on_error == "keep":
            return Document("", metadata={**metadata, "error": told}, id=item.id)
        where = metadata.get("source", "A picture in memory")
        warnings.warn(f"{where} was left out. {told}", SkippedWarning, stacklevel=3)
        return None


class MiniCPMLoader(BaseLoader):
    """Documents from the pictures and PDFs of files, folders or patterns; for videos give the parser their blobs.

    Files are told apart by their first bytes; those of other kinds, and hidden ones, are passed over in folders.
    """

    def __init__(self, paths: MediaPaths, *, parser: MiniCPMBlobParser | None = None, recursive: bool = True) -> None:
        """Nothing is read or sent yet.

        Args:
            paths: A file, a folder, a pattern such as `photos/**/*.jpg`, or several of these.
            parser: How pictures become documents; a plain `MiniCPMBlobParser()` by default.
            recursive: Look into folders within folders.
        """
        self.paths = paths
        self.parser = MiniCPMBlobParser() if parser is None else parser
        self.recursive = recursive

    def lazy_load(self) -> Iterator[Document]:
        """The documents, as they come, in the order of their paths and pages.

        Raises:
            MiniCPMError: A path does not exist, or a picture gets no text and the parser's `on_error` is `raise`.
        """
        return self.parser._documents(self._found())  # noqa: SLF001 - its other half

    async def alazy_load(self) -> AsyncGenerator[Document]:
        """`lazy_load` on an event loop, which is not blocked."""
        results = self.parser._adocuments(_in_threads(self._found()))  # noqa: SLF001 - its other half
        try:
            async for document in results:
                yield document
        finally:
            await results.aclose()

    def _found(self) -> Generator[Item]:
        broken: list[Item] = []

        def unreadable(path: Path, error: MiniCPMError) -> None:
            broken.append(Item(None, {"source": str(path), "kind": "page"}, error))

        told = None if self.parser.on_error == "raise" else unreadable
        pages: list[MediaPage] = find_media(self.paths, recursive=self.recursive, unreadable=told)
        yield from map(item_of, pages)
        yield from broken


async def _in_threads(found: Generator[Item]) -> AsyncGenerator[Item]:
    """The same one by one, each found in a thread: a page may have to be drawn, a video decoded."""
    try:
        while (item := await asyncio.to_thread(next, found, None)) is not None:
            yield item
    finally:
        found.close()
