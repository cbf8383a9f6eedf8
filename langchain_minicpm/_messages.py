"""LangChain messages to the core's, and whole answers back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_minicpm._blocks import OUTPUT_ONLY, parts_of, reasoning_of
from langchain_minicpm._provider import PROVIDER
from minicpm_core.errors import InvalidInputError
from minicpm_core.types import Message, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage, InvalidToolCall
    from langchain_core.messages import ToolCall as LangChainToolCall
    from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

    from minicpm_core.types import Choice, Completion, Usage

BROKEN_ARGUMENTS = "The arguments are not a JSON object; the answer may have been cut."


def to_core(messages: Sequence[BaseMessage]) -> list[Message]:
    """A conversation in the core's form. The messages are not changed.

    Raises:
        UnsupportedContentError: A content block of a kind that cannot be sent.
        InvalidInputError: A message that cannot be sent.
    """
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    return [translated for message in messages for translated in _translate(message, answered)]


def _translate(message: BaseMessage, answered: set[str]) -> Iterator[Message]:
    match message:
        case HumanMessage():
            yield from _user(message)
        case AIMessage():
            yield Message(
                "assistant",
                parts_of(message.content, skip=OUTPUT_ONLY),
                message.name,
                tool_calls=tuple(_calls_of(message, answered)),
                reasoning=reasoning_of(message),
            )
        case ToolMessage():
            yield Message("tool", parts_of(message.content), message.name, tool_call_id=message.tool_call_id)
        case SystemMessage():
            role = message.additional_kwargs.get("__openai_role__") or "system"
            yield Message(role, parts_of(message.content), message.name)
        case ChatMessage():
            yield Message(message.role, parts_of(message.content), message.name)
        case _:
            raise InvalidInputError(f"A {type(message).__name__} cannot be sent to a model.")


def _user(message: HumanMessage) -> Iterator[Message]:
    """A user turn; results of tools in it, which is Anthropic's form, become tool turns before it."""
    content = message.content
    if not isinstance(content, str) and any(_is_tool_result(block) for block in content):
        for block in filter(_is_tool_result, content):
            result = cast("Mapping[str, Any]", block)
            yield Message("tool", parts_of(result.get("content") or ""), tool_call_id=str(result.get("tool_use_id")))
        content = [block for block in content if not _is_tool_result(block)]
        if not content:
            return
    yield Message("user", parts_of(content), message.name)


def _is_tool_result(block: str | Mapping[Any, Any]) -> bool:
    """Whether a block of a user turn is Anthropic's form of a tool's result."""
    return isinstance(block, Mapping) and block.get("type") == "tool_result"


def _calls_of(message: AIMessage, answered: set[str]) -> Iterator[ToolCall]:
    """The tool calls of an assistant turn.

    A call whose arguments were broken is left out, unless a tool answered it all the same: templates render arguments
    as a JSON object, and an answer without its call is refused.
    """
    for call in message.tool_calls:
        yield _call(call["id"], call["name"], call["args"])
    if not message.tool_calls and not isinstance(message.content, str):
        for block in message.content:
            if isinstance(block, dict) and block.get("type") in {"tool_use", "tool_call"}:
                yield _call(block.get("id"), block.get("name"), block.get("input") or block.get("args") or {})
    for broken in message.invalid_tool_calls:
        if broken["id"] in answered:
            yield _call(broken["id"], broken["name"], {})


def _call(call_id: Any, name: Any, args: Any) -> ToolCall:
    try:
        arguments = json.dumps(args, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"The arguments of the call of {name!r} are not JSON: {error}.") from error
    return ToolCall(id=str(call_id or ""), name=str(name or ""), arguments=arguments)


def to_result(completion: Completion, *, model: str) -> ChatResult:
    """A whole answer as LangChain's result, one generation for each choice.

    Args:
        completion: What the core received.
        model: What was asked for, where the server does not say which model answered.
    """
    return ChatResult(
        generations=[
            ChatGeneration(
                message=to_message(completion, choice, model=model),
                generation_info={"finish_reason": choice.finish_reason} if choice.finish_reason else None,
            )
            for choice in completion.choices
        ]
    )


def to_message(completion: Completion, choice: Choice, *, model: str) -> AIMessage:
    """One choice as a message. The usage, which is of the whole request, is on the first one only."""
    calls, broken = parsed_calls(choice)
    return AIMessage(
        content=choice.text,
        additional_kwargs=additional_kwargs_of(choice),
        tool_calls=calls,
        invalid_tool_calls=broken,
        response_metadata=metadata_of(completion, choice, model=model),
        usage_metadata=usage_of(completion.usage) if choice is completion.choices[0] else None,
    )


def additional_kwargs_of(choice: Choice) -> dict[str, Any]:
    """What an answer holds beside its text, under the names that langchain-core reads."""
    found = {"reasoning_content": choice.reasoning, "refusal": choice.refusal}
    return {name: text for name, text in found.items() if text}


def metadata_of(completion: Completion, choice: Choice, *, model: str) -> dict[str, Any]:
    """`response_metadata` of an answer; what a server does not say is left out."""
    found: dict[str, Any] = {
        **completion.extras,
        **choice.extras,
        "finish_reason": choice.finish_reason,
        "model_name": completion.model or model,
        "model_provider": PROVIDER,
        "id": completion.id,
        "request_id": completion.request_id,
        "created": completion.created,
        "logprobs": choice.logprobs,
        "reasoning_promoted": choice.reasoning_promoted or None,
        "repaired_tool_calls": [call.id for call in choice.tool_calls if call.repaired] or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def usage_of(usage: Usage | None) -> UsageMetadata | None:
    """Token counts under LangChain's names, with the details that the server reports."""
    if usage is None:
        return None
    counts: UsageMetadata = {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        read: InputTokenDetails = {"cache_read": usage.cached_tokens}
        counts["input_token_details"] = read
    if usage.reasoning_tokens is not None:
        thought: OutputTokenDetails = {"reasoning": usage.reasoning_tokens}
        counts["output_token_details"] = thought
    return counts


def parsed_calls(choice: Choice) -> tuple[list[LangChainToolCall], list[InvalidToolCall]]:
    """The tool calls of a choice: those whose arguments are a JSON object, and the others as they came."""
    calls: list[LangChainToolCall] = []
    broken: list[InvalidToolCall] = []
    for call in choice.tool_calls:
        args = parsed_arguments(call.arguments)
        if args is None:
            broken.append(invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=BROKEN_ARGUMENTS))
        else:
            calls.append(tool_call(name=call.name, args=args, id=call.id))
    return calls, broken


def parsed_arguments(text: str) -> dict[str, Any] | None:
    """Arguments as an object; none at all are an empty one, and anything else than an object is `None`."""
    if not text.strip():
        return {}
    try:
        args = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", args) if isinstance(args, dict) else None
