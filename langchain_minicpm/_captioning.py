"""A `ChatMiniCPM` as what the core's captioners ask: callbacks, traces, caches and rate limits see each call."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, HumanMessage

from langchain_minicpm._settings import config_of
from minicpm_core.parts import ImageSource, TextPart
from minicpm_core.types import Choice, Completion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from langchain_minicpm.chat_models import ChatMiniCPM
    from minicpm_core.backends import Backend
    from minicpm_core.config import ChatOptions
    from minicpm_core.parts import Part
    from minicpm_core.types import Message


class _Through:
    def __init__(self, llm: ChatMiniCPM) -> None:
        self.llm = llm
        self.config = config_of(llm.__dict__)


class Through(_Through):
    """What `Captioner` needs of a client."""

    def backend(self) -> Backend:
        """The kind of server."""
        return self.llm._clients().sync.backend()  # noqa: SLF001 - of this package

    def complete(self, messages: Sequence[Message], options: ChatOptions) -> Completion:
        """Ask by `invoke`."""
        return _completion(self.llm.invoke(_langchain(messages), **cast("dict[str, Any]", options)))


class AsyncThrough(_Through):
    """What `AsyncCaptioner` needs of a client."""

    async def backend(self) -> Backend:
        """The kind of server."""
        return await self.llm._clients().aio.backend()  # noqa: SLF001 - of this package

    async def complete(self, messages: Sequence[Message], options: ChatOptions) -> Completion:
        """Ask by `ainvoke`."""
        return _completion(await self.llm.ainvoke(_langchain(messages), **cast("dict[str, Any]", options)))


def _langchain(messages: Sequence[Message]) -> list[BaseMessage]:
    return [(AIMessage if message.role == "assistant" else HumanMessage)(_content(message)) for message in messages]


def _content(message: Message) -> Any:
    return message.content if isinstance(message.content, str) else [_block(part) for part in message.content]


def _block(part: Part) -> dict[str, Any]:
    """A text or a picture in memory: a plan for captions has nothing else."""
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    if isinstance(part, ImageSource) and part.kind == "bytes":
        text = binascii.b2a_base64(part.value, newline=False).decode("ascii")
        return {"type": "image", "base64": text, "mime_type": part.media_type or "application/octet-stream"}
    raise TypeError(f"A caption is not asked for with a {type(part).__name__}.")


def _completion(answer: AIMessage) -> Completion:
    return Completion((Choice(text=answer.text, finish_reason=answer.response_metadata.get("finish_reason")),))
