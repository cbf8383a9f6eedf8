"""`as_structured_llm`: an LLM whose answers are objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
)
from llama_index.core.llms.structured_llm import StructuredLLM
from typing_extensions import override

from llama_index_minicpm._release import AsyncMapped, mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llama_index.core.base.llms.types import (
        ChatResponseAsyncGen,
        ChatResponseGen,
        CompletionResponseAsyncGen,
        CompletionResponseGen,
    )
    from llama_index.core.bridge.pydantic import BaseModel

    from llama_index_minicpm._predicting import Predicting

    F = TypeVar("F", bound=Callable[..., Any])

    def llm_chat_callback() -> Callable[[F], F]:
        """LlamaIndex's, which has no types of its own."""
        ...

    def llm_completion_callback() -> Callable[[F], F]:
        """LlamaIndex's, which has no types of its own."""
        ...
else:
    from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback


class MiniCPMStructuredLLM(StructuredLLM):
    """An LLM that answers with objects of one class.

    LlamaIndex's own takes the text of messages for templates, and cannot stream completions.
    """

    @property
    def _model(self) -> Predicting:
        return cast("Predicting", self.llm)

    @llm_chat_callback()
    @override
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """An object as JSON in the message, and itself in `raw`."""
        return _chat_response(self._model.predict_object(self.output_cls, messages, kwargs))

    @llm_chat_callback()
    @override
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """The object as far as it is known, whenever that changes."""
        objects = self._model.stream_object(self.output_cls, messages, kwargs)
        return mapped(_chat_response, objects)

    @llm_chat_callback()
    @override
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat`, asynchronously."""
        return _chat_response(await self._model.apredict_object(self.output_cls, messages, kwargs))

    @llm_chat_callback()
    @override
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """`stream_chat`, asynchronously."""
        objects = await self._model.astream_object(self.output_cls, messages, kwargs)
        return AsyncMapped(_chat_response, objects)

    @llm_completion_callback()
    @override
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """An object as JSON text, and itself in `raw`."""
        return _completion_response(self._model.predict_object(self.output_cls, _turn(prompt), kwargs))

    @llm_completion_callback()
    @override
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """The object as far as it is known, whenever that changes."""
        objects = self._model.stream_object(self.output_cls, _turn(prompt), kwargs)
        return mapped(_completion_response, objects)

    @llm_completion_callback()
    @override
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """`complete`, asynchronously."""
        return _completion_response(await self._model.apredict_object(self.output_cls, _turn(prompt), kwargs))

    @llm_completion_callback()
    @override
    async def astream_complete(  # pyright: ignore[reportIncompatibleMethodOverride] - declared as a plain generator
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseAsyncGen:
        """`stream_complete`, asynchronously."""
        objects = await self._model.astream_object(self.output_cls, _turn(prompt), kwargs)
        return AsyncMapped(_completion_response, objects)


def _turn(prompt: str) -> list[ChatMessage]:
    return [ChatMessage(prompt, role=MessageRole.USER)]


def _chat_response(found: BaseModel) -> ChatResponse:
    return ChatResponse(message=ChatMessage(found.model_dump_json(), role=MessageRole.ASSISTANT), raw=found)


def _completion_response(found: BaseModel) -> CompletionResponse:
    return CompletionResponse(text=found.model_dump_json(), raw=found)
