"""The eight ways to ask a model through the adapters, each giving what came out in one form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ThinkingBlock

from langchain_minicpm import ChatMiniCPM
from llama_index_minicpm import MiniCPM
from tests.wire.expected import Answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult
    from llama_index.core.base.llms.types import ChatResponse

    from tests.wire.cases import Case

KEY = "sk-test"
_MODEL = "MiniCPM-V-4.6-Thinking"
_HUMAN: list[BaseMessage] = [HumanMessage("Say hello.")]
_USER = [ChatMessage("Say hello.", role=MessageRole.USER)]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a caller of an adapter sees.

    Attributes:
        answers: The choices that the adapter gives.
        usage: Prompt, completion and total tokens.
    """

    answers: tuple[Answer, ...]
    usage: tuple[int, int, int] | None


def chat_model(case: Case, url: str) -> ChatMiniCPM:
    """The LangChain model that would have made the request of a case."""
    return ChatMiniCPM(
        model=_MODEL, api_key=KEY, base_url=url, backend=case.backend, thinking=case.thinking, max_retries=0
    )


def llm(case: Case, url: str) -> MiniCPM:
    """The LlamaIndex model that would have made the request of a case."""
    return MiniCPM(model=_MODEL, api_key=KEY, base_url=url, backend=case.backend, thinking=case.thinking, max_retries=0)


def _tools(case: Case) -> dict[str, Any]:
    return {"tools": case.tools} if case.tools else {}


# --- LangChain -------------------------------------------------------------------------------------------------------


def of_message(message: AIMessage) -> Seen:
    """What a LangChain message says."""
    assert message.invalid_tool_calls == []
    usage = message.usage_metadata
    answer = Answer(
        text=str(message.text),
        reasoning=message.additional_kwargs.get("reasoning_content", ""),
        calls=tuple((call["name"], call["args"]) for call in message.tool_calls),
        finish_reason=message.response_metadata["finish_reason"],
    )
    counts = None if usage is None else (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"])
    return Seen((answer,), counts)


def of_chunks(chunks: Sequence[AIMessageChunk]) -> Seen:
    """What the chunks of a LangChain stream say together."""
    assert [chunk.chunk_position for chunk in chunks if chunk.chunk_position] == ["last"]
    return of_message(reduce(add, chunks))


def _of_result(result: LLMResult) -> Seen:
    seen = [of_message(cast("AIMessage", cast("Any", generation).message)) for generation in result.generations[0]]
    return Seen(tuple(each.answers[0] for each in seen), seen[0].usage)


async def _langchain_invoke(case: Case, url: str) -> Seen:
    with chat_model(case, url) as model:
        return _of_result(model.generate([_HUMAN], **_tools(case)))


async def _langchain_ainvoke(case: Case, url: str) -> Seen:
    async with chat_model(case, url) as model:
        return _of_result(await model.agenerate([_HUMAN], **_tools(case)))


async def _langchain_stream(case: Case, url: str) -> Seen:
    with chat_model(case, url) as model:
        return of_chunks(list(model.stream(_HUMAN, **_tools(case))))


async def _langchain_astream(case: Case, url: str) -> Seen:
    async with chat_model(case, url) as model:
        return of_chunks([chunk async for chunk in model.astream(_HUMAN, **_tools(case))])


# --- LlamaIndex ------------------------------------------------------------------------------------------------------


def of_response(response: ChatResponse) -> Seen:
    """What a LlamaIndex response says: of several choices the first."""
    message, raw = response.message, cast("dict[str, Any]", response.raw)
    assert set(raw) >= {"choices", "model", "id"}
    thoughts = [block.content or "" for block in message.blocks if isinstance(block, ThinkingBlock)]
    calls = message.additional_kwargs.get("tool_calls", [])
    answer = Answer(
        text=message.content or "",
        reasoning="".join(thoughts),
        calls=tuple((call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls),
        finish_reason=raw["choices"][0]["finish_reason"],
    )
    counts = _extra(response)
    if not counts:
        return Seen((answer,), None)
    return Seen((answer,), (counts["prompt_tokens"], counts["completion_tokens"], counts["total_tokens"]))


def _extra(response: ChatResponse) -> dict[str, Any]:
    return cast("dict[str, Any]", cast("Any", response).additional_kwargs)


def of_responses(responses: Sequence[ChatResponse]) -> Seen:
    """What the last response of a LlamaIndex stream says; the deltas must join to it."""
    seen = of_response(responses[-1])
    assert "".join(response.delta or "" for response in responses) == seen.answers[0].text
    assert "".join(_extra(response).get("thinking_delta", "") for response in responses) == seen.answers[0].reasoning
    return seen


async def _llama_chat(case: Case, url: str) -> Seen:
    return of_response(llm(case, url).chat(_USER, **_tools(case)))


async def _llama_achat(case: Case, url: str) -> Seen:
    return of_response(await llm(case, url).achat(_USER, **_tools(case)))


async def _llama_stream_chat(case: Case, url: str) -> Seen:
    return of_responses(list(llm(case, url).stream_chat(_USER, **_tools(case))))


async def _llama_astream_chat(case: Case, url: str) -> Seen:
    return of_responses([response async for response in await llm(case, url).astream_chat(_USER, **_tools(case))])


WHOLE: dict[str, Callable[[Case, str], Awaitable[Seen]]] = {
    "langchain-invoke": _langchain_invoke,
    "langchain-ainvoke": _langchain_ainvoke,
    "llamaindex-chat": _llama_chat,
    "llamaindex-achat": _llama_achat,
}
STREAMS: dict[str, Callable[[Case, str], Awaitable[Seen]]] = {
    "langchain-stream": _langchain_stream,
    "langchain-astream": _langchain_astream,
    "llamaindex-stream_chat": _llama_stream_chat,
    "llamaindex-astream_chat": _llama_astream_chat,
}
