"""Captions by the clients of the core: one call for each picture, the cache first, several at a time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sized
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Generic, TypeVar, get_args

from minicpm_core.captions.plan import Captioned, CaptionPlan, OnError, passed_over, picture_of
from minicpm_core.captions.work import AsyncOneAtATime, OneAtATime, ain_order, checked_workers, in_order, kept
from minicpm_core.errors import ConfigurationError, MiniCPMError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable

    from minicpm_core._base import ClientBase
    from minicpm_core.aio import AsyncMiniCPMClient  # noqa: F401 - named in quotes
    from minicpm_core.captions.cache import CaptionCache
    from minicpm_core.captions.plan import Captionable
    from minicpm_core.captions.prompts import Caption
    from minicpm_core.captions.sources import Picture
    from minicpm_core.client import MiniCPMClient  # noqa: F401 - named in quotes
    from minicpm_core.config import ChatOptions

    Progress = Callable[[int, int | None], None]

Client = TypeVar("Client", bound="ClientBase")


class _Captions(Generic[Client]):
    """Settings of a captioner."""

    def __init__(
        self,
        client: Client,
        *,
        cache: CaptionCache | None = None,
        prompt: str | None = None,
        structured: bool = False,
        options: ChatOptions | None = None,
        on_error: OnError = "raise",
        concurrency: int = 8,
    ) -> None:
        """Nothing is sent yet.

        Args:
            client: What asks. It is not closed.
            cache: Where captions are kept; pictures that are the same are then asked for once. `None` keeps none.
            prompt: The words beside each picture; `None` for those of this library.
            structured: Ask for summary, visible text, tables and entities instead of prose.
            options: What each request asks for, over the client's own options.
            on_error: `raise`, or `skip` a picture that gets no caption. Errors that every picture would meet (a wrong
                key, an unknown model, no credit left) are raised either way.
            concurrency: Calls at a time.

        Raises:
            ConfigurationError: A setting cannot be.
        """
        if on_error not in get_args(OnError):
            raise ConfigurationError(f"on_error must be 'raise' or 'skip', not {on_error!r}.")
        self.client = client
        self.cache = cache
        self.plan = CaptionPlan.of(client.config, prompt=prompt, structured=structured, options=options)
        self.on_error: OnError = on_error
        self.concurrency = checked_workers(concurrency)
        self._threads = OneAtATime()
        self._tasks = AsyncOneAtATime()

    def _kept(self, picture: Picture) -> Caption | None:
        return None if self.cache is None else self.cache.get(self.plan.key(picture.sha256))

    def _keep(self, picture: Picture, caption: Caption) -> None:
        if self.cache is not None:
            self.cache.put(self.plan.key(picture.sha256), caption, sha256=picture.sha256, model=self.plan.model)

    def _picture(self, source: Captionable) -> Picture:
        return picture_of(source, self.client.config.media.media_limits)


class Captioner(_Captions["MiniCPMClient"]):
    """Captions, synchronously. Safe to share between threads.

    Example:
        ```python
        with MiniCPMClient() as client:
            captioner = Captioner(client, cache=CaptionCache("captions"), on_error="skip")
            for found in captioner.captions(find_media("photos")):
                print(found.source, found.caption or found.error)
        ```
    """

    def caption(self, source: Captionable) -> Captioned:
        """The caption of one picture, from the cache or from the model.

        Args:
            source: A page of `find_media`, a `pathlib.Path`, or a picture's bytes.

        Raises:
            MiniCPMError: It gets no caption, and errors are not skipped.
        """
        picture: Picture | None = None
        try:
            picture = self._picture(source)
            with self._threads(self.plan.key(picture.sha256)):
                known = self._kept(picture)
                if known is not None:
                    return Captioned(source, picture.sha256, known, cached=True)
                caption = self._ask(picture)
                self._keep(picture, caption)
        except MiniCPMError as error:
            if passed_over(error, source, self.on_error):
                return Captioned(source, picture.sha256 if picture else None, None, error)
            raise
        return Captioned(source, picture.sha256, caption)

    def captions(self, sources: Iterable[Captionable], *, progress: Progress | None = None) -> Generator[Captioned]:
        """The captions of many pictures, in their order, several calls at a time.

        Lazily: no more is read and asked for ahead of the caller than twice `concurrency`.  Whatever ends it early (an
        error, also one of `progress`; Ctrl-C; leaving it), no further call is begun, and the captions of those under
        way are waited for and kept.

        Args:
            sources: Read as far as is needed.
            progress: Called before each result with how many there are until now, and of how many, where `sources` has
                a length.

        Raises:
            MiniCPMError: One gets no caption, and errors are not skipped.
        """
        total = len(sources) if isinstance(sources, Sized) else None
        with closing(in_order(sources, self.caption, workers=self.concurrency)) as results:
            for done, found in enumerate(results, 1):
                if progress is not None:
                    progress(done, total)
                yield found

    def _ask(self, picture: Picture) -> Caption:
        flow = self.plan.flow(picture, self.client.backend())
        request = next(flow)
        while True:
            completion = self.client.complete(request.messages, request.options)
            try:
                request = flow.send(completion)
            except StopIteration as end:
                caption: Caption = end.value
                return caption


class AsyncCaptioner(_Captions["AsyncMiniCPMClient"]):
    """`Captioner` on an event loop, which is not blocked: files are read and drawn in threads."""

    async def caption(self, source: Captionable) -> Captioned:
        """The caption of one picture, as `Captioner.caption`."""
        picture: Picture | None = None
        try:
            picture = await asyncio.to_thread(self._picture, source)
            async with self._tasks(self.plan.key(picture.sha256)):
                known = await asyncio.to_thread(self._kept, picture)
                if known is not None:
                    return Captioned(source, picture.sha256, known, cached=True)
                caption = await self._ask(picture)
                await kept(self._keep, picture, caption)
        except MiniCPMError as error:
            if passed_over(error, source, self.on_error):
                return Captioned(source, picture.sha256 if picture else None, None, error)
            raise
        return Captioned(source, picture.sha256, caption)

    async def captions(
        self, sources: Iterable[Captionable] | AsyncIterable[Captionable], *, progress: Progress | None = None
    ) -> AsyncGenerator[Captioned]:
        """The captions of many pictures, as `Captioner.captions`.

        An error ends it as it does there.  Where its task is cancelled, or it is left early, calls under way are
        cancelled; a caption that has come is kept.
        """
        total = len(sources) if isinstance(sources, Sized) else None
        counted = itertools.count(1)
        told = None if progress is None else lambda: progress(next(counted), total)
        async with aclosing(ain_order(sources, self.caption, workers=self.concurrency, told=told)) as results:
            async for found in results:
                yield found

    async def _ask(self, picture: Picture) -> Caption:
        flow = self.plan.flow(picture, await self.client.backend())
        request = next(flow)
        while True:
            completion = await self.client.complete(request.messages, request.options)
            try:
                request = flow.send(completion)
            except StopIteration as end:
                caption: Caption = end.value
                return caption
