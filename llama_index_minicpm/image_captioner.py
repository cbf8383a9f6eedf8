"""`MiniCPMImageCaptioner`: pictures in, nodes with captions out, for LlamaIndex's ingestion."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast
from uuid import uuid4

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr
from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.core.utils import get_tqdm_iterable  # pyright: ignore[reportUnknownVariableType]
from typing_extensions import override

from llama_index_minicpm._image_nodes import Shown, captioned, has_picture, show, uncaptioned
from llama_index_minicpm._structured import finish_reason
from llama_index_minicpm.image_loader import load_images
from llama_index_minicpm.llm import MiniCPM
from minicpm_core.captions import Caption, CaptionCache, CaptionPlan
from minicpm_core.captions.plan import passed_over, plain_caption
from minicpm_core.captions.work import AsyncOneAtATime, OneAtATime, ain_order, in_order, kept
from minicpm_core.errors import InvalidInputError, InvalidMediaError, MiniCPMError
from minicpm_core.types import Choice, Completion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from llama_index.core.base.llms.types import ChatResponse

    from minicpm_core.captions.plan import OnError
    from minicpm_core.config import ChatOptions, ClientConfig

_DESCRIPTION = "Captioning images"


class ImageCaption(BaseModel):
    """What was read off a picture, in fields."""

    summary: str = Field(description="What kind of picture it is and what it shows.")
    visible_text: str = Field(description="All legible text outside of tables, word for word.")
    tables: list[str] = Field(description="Each as one Markdown table.")
    entities: list[str] = Field(description="What the picture itself names.")


class MiniCPMImageCaptioner(TransformComponent):
    """Captions pictures, so that any text index finds them and a multimodal engine shows them to the model.

    Example:
        ```python
        captioner = MiniCPMImageCaptioner(llm=llm, cache_dir="captions", image_dir="pages")
        nodes = captioner(load_images("photos", image_dir="pages"))
        index = VectorStoreIndex(nodes)
        index.as_query_engine(llm=llm, multimodal=True).query("Which cup is red?")
        ```

    Takes paths, `ImageDocument`, `ImageNode`, `Node` and `Document`.  For each that has a picture it makes one call and
    gives a `Node` of the same id, relationships and metadata, with the caption as text and the picture as a path; what
    has no picture comes out as it is.  Text that a node came with stands before the caption.

    Captions are kept in `cache_dir` under a hash of the picture, the prompt, the model and the options: a second run
    after a crash pays only for what is missing, and a replaced file is noticed.  The same folder serves
    `minicpm_core.captions`.

    Attributes:
        llm: What is asked. Its key is in no dictionary or pickle; a worker process reads its own environment.
        cache_dir: Where captions are kept; `None` keeps none.
        image_dir: Where pictures are written that are in no file: those in bytes, at URLs and on pages of PDFs.
        prompt: The words beside each picture; `None` for those of this library.
        structured: Ask for summary, visible text, tables and entities; as JSON in the metadata `caption_fields`, too.
        llm_kwargs: Settings of each call, such as `max_tokens`.
        on_error: `raise`, or `skip` a picture that gets no caption: its node then has the error's name in its metadata
            `caption_error`. Errors that every picture would meet (a wrong key, no credit left) are raised either way.
        num_workers: Calls at a time.
        show_progress: Show a bar.
        ingestion_cache: Let the cache of an `IngestionPipeline` keep this step. Its key does not see pictures, only
            text and metadata, so that it would give one picture's caption to another; leave it off unless all nodes
            come from `load_images`, whose metadata have the picture's hash.
    """

    llm: MiniCPM
    cache_dir: str | None = None
    image_dir: str | None = None
    prompt: str | None = None
    structured: bool = False
    llm_kwargs: dict[str, Any] = Field(default_factory=dict[str, Any])
    on_error: Literal["raise", "skip"] = "raise"
    num_workers: int = Field(default=8, ge=1)
    show_progress: bool = False
    ingestion_cache: bool = False

    _threads: OneAtATime = PrivateAttr(default_factory=OneAtATime)
    _tasks: AsyncOneAtATime = PrivateAttr(default_factory=AsyncOneAtATime)

    def __init__(self, **settings: Any) -> None:
        """Take the settings; folders may be paths.

        Args:
            **settings: The attributes above.
        """
        for name in ("cache_dir", "image_dir"):
            if settings.get(name) is not None:
                settings[name] = os.fspath(settings[name])
        super().__init__(**settings)

    @classmethod
    @override
    def class_name(cls) -> str:
        """The name in serialised form."""
        return "MiniCPMImageCaptioner"

    @override
    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The settings, without secrets; and something new each time, unless `ingestion_cache` is set.

        An `IngestionPipeline` makes the key of its cache of this dictionary.
        """
        found = super().to_dict(**kwargs)
        return found if self.ingestion_cache else found | {"not_cached": uuid4().hex}

    @classmethod
    @override
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """The opposite of `to_dict`; the key comes from the environment."""
        known = {name: value for name, value in data.items() if name != "not_cached"}
        if isinstance(known.get("llm"), dict):
            known["llm"] = MiniCPM.from_dict(known["llm"])
        return super().from_dict(known, **kwargs)

    # -- Calls ---------------------------------------------------------------------------------------------------------

    @override
    def __call__(self, nodes: Sequence[BaseNode | str | os.PathLike[str]], **kwargs: Any) -> list[BaseNode]:
        """Caption pictures, several at a time, in threads.

        Args:
            nodes: Nodes and documents, or paths as `load_images` takes them.
            **kwargs: `show_progress`.

        Raises:
            MiniCPMError: A picture gets no caption, and errors are not skipped. Calls under way are waited for, and
                their captions kept.
        """
        given, job = self._loaded(nodes), _Job(self)
        steps = self._steps(given, kwargs)
        found: list[BaseNode] = []
        with closing(in_order(given, lambda node: self._caption(job, node), workers=self.num_workers)) as results:
            for node in results:
                found.append(node)
                next(steps)
        next(steps, None)
        return found

    @override
    async def acall(self, nodes: Sequence[BaseNode | str | os.PathLike[str]], **kwargs: Any) -> list[BaseNode]:
        """`__call__` on the event loop, which is not blocked: files are read in threads.

        Where it is cancelled, calls under way are, too; a caption that has come is kept.
        """
        given, job = await asyncio.to_thread(self._loaded, nodes), _Job(self)
        steps = self._steps(given, kwargs)
        calls = ain_order(
            given, lambda node: self._acaption(job, node), workers=self.num_workers, told=lambda: next(steps)
        )
        async with aclosing(calls) as results:
            found = [node async for node in results]
        next(steps, None)
        return found

    def _loaded(self, nodes: Sequence[BaseNode | str | os.PathLike[str]]) -> list[BaseNode]:
        given: list[BaseNode] = []
        for node in nodes:
            given += [node] if isinstance(node, BaseNode) else load_images(node, image_dir=self.image_dir)
        return given

    def _steps(self, nodes: Sequence[BaseNode], kwargs: dict[str, Any]) -> Iterator[Any]:
        shown = bool(kwargs.get("show_progress", self.show_progress))
        steps: Iterable[Any] = get_tqdm_iterable(range(len(nodes)), shown, _DESCRIPTION)  # pyright: ignore[reportUnknownVariableType]
        return iter(steps)

    def _caption(self, job: _Job, node: BaseNode) -> BaseNode:
        if not has_picture(node):
            return node
        shown: Shown | None = None
        try:
            shown = job.show(node)
            with self._threads(job.key(shown)):
                caption = job.kept(shown)
                if caption is None:
                    caption = self._ask(job, shown)
                    job.keep(shown, caption)
        except MiniCPMError as error:
            return job.failed(node, shown, error)
        return job.captioned(node, shown, caption)

    async def _acaption(self, job: _Job, node: BaseNode) -> BaseNode:
        if not has_picture(node):
            return node
        shown: Shown | None = None
        try:
            shown = await asyncio.to_thread(job.show, node)
            async with self._tasks(job.key(shown)):
                caption = await asyncio.to_thread(job.kept, shown)
                if caption is None:
                    caption = await self._aask(job, shown)
                    await kept(job.keep, shown, caption)
        except MiniCPMError as error:
            return job.failed(node, shown, error)
        return job.captioned(node, shown, caption)

    def _ask(self, job: _Job, shown: Shown) -> Caption:
        messages = job.messages(shown)
        if self.structured:
            return _of_fields(self.llm.predict_object(ImageCaption, messages, self.llm_kwargs))
        return _of_text(self.llm.chat(messages, **self.llm_kwargs))

    async def _aask(self, job: _Job, shown: Shown) -> Caption:
        messages = job.messages(shown)
        if self.structured:
            return _of_fields(await self.llm.apredict_object(ImageCaption, messages, self.llm_kwargs))
        return _of_text(await self.llm.achat(messages, **self.llm_kwargs))


class _Job:
    """What stays the same for all pictures of a call."""

    def __init__(self, captioner: MiniCPMImageCaptioner) -> None:
        config: ClientConfig = captioner.llm._config()  # noqa: SLF001 - of this package
        options = cast("ChatOptions", captioner.llm_kwargs)
        plan = CaptionPlan.of(config, prompt=captioner.prompt, structured=captioner.structured, options=options)
        told = captioner.llm.system_prompt if captioner.structured else None  # `chat` leaves it out
        self.plan = replace(plan, decides={**plan.decides, "system": told}) if told else plan
        self._config = config
        self._on_error: OnError = captioner.on_error
        self._cache = None if captioner.cache_dir is None else CaptionCache(captioner.cache_dir)
        self._image_dir = None if captioner.image_dir is None else Path(captioner.image_dir).expanduser()

    def show(self, node: BaseNode) -> Shown:
        """The node's picture. Blocks."""
        return show(node, self._config, self._image_dir)

    def key(self, shown: Shown) -> str:
        """Under which its caption is kept."""
        return self.plan.key(shown.picture.sha256)

    def kept(self, shown: Shown) -> Caption | None:
        """The caption that is known already."""
        return None if self._cache is None else self._cache.get(self.key(shown))

    def keep(self, shown: Shown, caption: Caption) -> None:
        """Keep a caption, unless the model may have been shown another picture than was read before."""
        if shown.changed:
            raise InvalidMediaError(f"The image file {str(shown.path)!r} was replaced meanwhile. Caption it once more.")
        if self._cache is not None:
            self._cache.put(self.key(shown), caption, sha256=shown.picture.sha256, model=self.plan.model)

    def messages(self, shown: Shown) -> list[ChatMessage]:
        """What is asked."""
        image = ImageBlock(path=shown.path, image_mimetype=shown.picture.media_type)
        return [ChatMessage(role=MessageRole.USER, blocks=[image, TextBlock(text=self.plan.prompt)])]

    def captioned(self, node: BaseNode, shown: Shown, caption: Caption) -> BaseNode:
        """The node with its caption."""
        return captioned(node, shown, caption, model=self.plan.model, prompt=self.plan.prompt)

    def failed(self, node: BaseNode, shown: Shown | None, error: MiniCPMError) -> BaseNode:
        """The node without a caption; or its error is raised again."""
        source = Path(node.metadata.get("file_path") or (shown.path if shown else f"the picture of node {node.id_}"))
        if not passed_over(error, source, self._on_error):
            raise error
        return uncaptioned(node, None if isinstance(error, InvalidInputError) else shown, error)


def _of_text(response: ChatResponse) -> Caption:
    choice = Choice(text=response.message.content or "", finish_reason=finish_reason(response))
    return plain_caption(Completion((choice,)))


def _of_fields(found: ImageCaption) -> Caption:
    return Caption.from_dict(found.model_dump())
