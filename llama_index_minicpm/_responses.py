"""What the model answers: the core's completions and deltas as LlamaIndex's responses, whole and streamed.

Of a stream, each response carries what is new in `delta` and all text so far in its message, as LlamaIndex wants it.
The last one carries the whole answer: reasoning, tool calls, log probabilities, and `raw` with the usage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
)

from llama_index_minicpm._tools import GrowingCalls, call_block, call_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping

    from llama_index.core.base.llms.types import ContentBlock

    from minicpm_core import AsyncCompletionStream, CompletionStream
    from minicpm_core.errors import ToolCallError
    from minicpm_core.types import Choice, Completion, Delta, Usage

_ASSISTANT = MessageRole.ASSISTANT
R_co = TypeVar("R_co", covariant=True)


class StreamReader(Protocol[R_co]):
    """Turns the deltas of one stream into responses."""

    def read(self, delta: Delta) -> R_co | None:
        """The response for a delta; `None` where it is of no interest."""
        ...


def chat_response(completion: Completion, *, delta: str | None = None) -> ChatResponse:
    """A whole answer to `chat`.

    Args:
        completion: Its first choice becomes the message; all are in `raw`.
        delta: For the last chunk of a stream.
    """
    return ChatResponse(
        message=_message(completion),
        raw=raw(completion),
        delta=delta,
        logprobs=logprob_lists(completion.choices[0].logprobs),
        additional_kwargs=token_counts(completion.usage),
    )


def uncalled(error: ToolCallError) -> ChatResponse:
    """The answer without the call that was asked for: what was wanted may be in its text all the same."""
    return chat_response(cast("Completion", error.partial))  # this error always has it


def completion_response(completion: Completion, *, delta: str | None = None) -> CompletionResponse:
    """A whole answer to `complete`: the text alone; reasoning is in `raw`."""
    return CompletionResponse(
        text=completion.text,
        raw=raw(completion),
        delta=delta,
        logprobs=logprob_lists(completion.choices[0].logprobs),
        additional_kwargs=token_counts(completion.usage),
    )


def _message(completion: Completion) -> ChatMessage:
    choice = completion.choices[0]
    blocks: list[ContentBlock] = []
    if choice.reasoning:
        thought = completion.usage.reasoning_tokens if completion.usage else None
        blocks.append(ThinkingBlock(content=choice.reasoning, num_tokens=thought))
    if choice.text or not choice.tool_calls:
        blocks.append(TextBlock(text=choice.text))
    blocks += map(call_block, choice.tool_calls)
    extra: dict[str, Any] = {}
    if choice.tool_calls:
        extra["tool_calls"] = [call_json(call.id, call.name, call.arguments) for call in choice.tool_calls]
    if choice.refusal:
        extra["refusal"] = choice.refusal
    return ChatMessage(role=_ASSISTANT, blocks=blocks, additional_kwargs=extra)


def raw(completion: Completion) -> dict[str, Any]:
    """The answer as a plain dictionary in the shape of a Chat Completions reply; what the server left out is absent."""
    known = {
        "id": completion.id,
        "model": completion.model,
        "created": completion.created,
        "request_id": completion.request_id,
        "choices": [_raw_choice(choice) for choice in completion.choices],
        "usage": _raw_usage(completion.usage),
    }
    return dict(completion.extras) | {name: value for name, value in known.items() if value is not None}


def _raw_choice(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text}
    if choice.reasoning:
        message["reasoning"] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = [call_json(call.id, call.name, call.arguments) for call in choice.tool_calls]
    if choice.refusal:
        message["refusal"] = choice.refusal
    known: dict[str, Any] = {"index": choice.index, "message": message, "finish_reason": choice.finish_reason}
    if choice.logprobs is not None:
        known["logprobs"] = choice.logprobs
    if choice.reasoning_promoted:
        known["reasoning_promoted"] = True
    repaired = [call.id for call in choice.tool_calls if call.repaired]
    if repaired:
        known["repaired_tool_calls"] = repaired
    return dict(choice.extras) | known


def _raw_usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    counts: dict[str, Any] = token_counts(usage)
    if usage.cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counts


def token_counts(usage: Usage | None) -> dict[str, Any]:
    """The three counts that LlamaIndex looks for; empty where the server reported none."""
    if usage is None:
        return {}
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def logprob_lists(logprobs: Mapping[str, Any] | None) -> list[list[LogProb]] | None:
    """For each token the candidates that the server listed, or the token alone; `None` where it sent none.

    What is in no shape that LlamaIndex has a place for is `None` too: the answer is whole without it, and `raw` has it.
    """
    tokens = logprobs.get("content") if logprobs else None
    if not isinstance(tokens, list):
        return None
    try:
        return [
            [_logprob(candidate) for candidate in token.get("top_logprobs") or [token]]
            for token in cast("list[dict[str, Any]]", tokens)
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _logprob(token: Mapping[str, Any]) -> LogProb:
    return LogProb(token=token["token"], logprob=token["logprob"], bytes=token.get("bytes") or [])


class ChatReader:
    """Deltas to `ChatResponse`s.

    Each has a message and a block of its own, since LlamaIndex's handlers keep them.  The block is handed over as a
    dictionary: building it inside the message's own validation is the cheapest way.  The text so far is copied once a
    chunk, which at 32,000 chunks is still a fifth of what the chunk costs.
    """

    __slots__ = ("_calls", "_text")

    def __init__(self) -> None:
        """Begin a stream."""
        self._text = ""
        self._calls = GrowingCalls()

    def read(self, delta: Delta) -> ChatResponse | None:
        """The response for a delta; `None` for choices other than the first."""
        if delta.final is not None:
            return chat_response(delta.final, delta="")
        if delta.index:
            return None
        self._text += delta.text
        if delta.tool_calls:
            self._calls.feed(delta.tool_calls)
        blocks: list[Any] = [{"block_type": "text", "text": self._text}]
        if self._calls:
            blocks = [*(blocks if self._text else ()), *self._calls.blocks()]
            message = ChatMessage(role=_ASSISTANT, blocks=blocks, additional_kwargs={"tool_calls": self._calls.json()})
        else:
            message = ChatMessage(role=_ASSISTANT, blocks=blocks)
        if delta.reasoning or delta.logprobs:
            return ChatResponse(
                message=message,
                delta=delta.text,
                logprobs=logprob_lists(delta.logprobs),
                additional_kwargs=_thinking(delta),
            )
        return ChatResponse(message=message, delta=delta.text)


class CompletionReader:
    """Deltas to `CompletionResponse`s."""

    __slots__ = ("_text",)

    def __init__(self) -> None:
        """Begin a stream."""
        self._text = ""

    def read(self, delta: Delta) -> CompletionResponse | None:
        """The response for a delta; `None` for choices other than the first."""
        if delta.final is not None:
            return completion_response(delta.final, delta="")
        if delta.index:
            return None
        self._text += delta.text
        return CompletionResponse(
            text=self._text,
            delta=delta.text,
            logprobs=logprob_lists(delta.logprobs),
            additional_kwargs=_thinking(delta),
        )


def _thinking(delta: Delta) -> dict[str, Any]:
    return {"thinking_delta": delta.reasoning} if delta.reasoning else {}


def responses(stream: CompletionStream, reader: StreamReader[R_co]) -> Generator[R_co, None, None]:
    """The responses of a stream."""
    for delta in stream:
        response = reader.read(delta)
        if response is not None:
            yield response


async def aresponses(stream: AsyncCompletionStream, reader: StreamReader[R_co]) -> AsyncGenerator[R_co, None]:
    """The responses of a stream."""
    async for delta in stream:
        response = reader.read(delta)
        if response is not None:
            yield response
