"""Streamed answers to LangChain's chunks.

Most deltas become a chunk with a little text and nothing else.  Everything that is known only at the end (finish
reason, usage, model, ids) is on one last chunk, since LangChain adds up what several chunks say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.utils.json import parse_partial_json

from langchain_minicpm._blocks import REASONING_INDEX, REFUSAL_INDEX, TEXT_INDEX, tool_call_chunk_block
from langchain_minicpm._fast import chunk_maker
from langchain_minicpm._messages import additional_kwargs_of, metadata_of, parsed_arguments, usage_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import ToolCallChunk

    from minicpm_core.types import Choice, Completion, Delta, ToolCallDelta

_V1: Final = {"output_version": "v1"}
_MISFITS: Final = ("]", "}", '"]', '"}', '\\"]', '\\"}')


def chunk_writer(*, v1: bool, model: str) -> Callable[[Delta], ChatGenerationChunk | None]:
    """A function from deltas to chunks; a delta that says nothing of the first choice gives `None`.

    Args:
        v1: Whether the content is to be standard blocks (`output_version="v1"`) instead of a string.
        model: What was asked for, where the server does not say which model answered.
    """
    make = chunk_maker()

    def write(delta: Delta) -> ChatGenerationChunk | None:
        text = delta.text
        if text and not (v1 or delta.reasoning or delta.tool_calls or delta.index):
            return make(text, text, {}, {})
        if delta.final is not None:
            return last_chunk(delta.final, v1=v1, model=model)
        if delta.index or not (text or delta.reasoning or delta.tool_calls):
            return None  # a stream has one answer: a second choice was not asked for
        kwargs = {"reasoning_content": delta.reasoning} if delta.reasoning else {}
        if delta.tool_calls:
            return _tool_chunk(delta, kwargs, v1=v1)
        if v1:
            return make(_blocks(delta), text, kwargs, dict(_V1))
        return make(text, text, kwargs, {})

    return write


def _blocks(delta: Delta) -> list[str | dict[str, Any]]:
    blocks: list[str | dict[str, Any]] = []
    if delta.reasoning:
        blocks.append({"type": "reasoning", "reasoning": delta.reasoning, "index": REASONING_INDEX})
    if delta.text:
        blocks.append({"type": "text", "text": delta.text, "index": TEXT_INDEX})
    return blocks


def _piece(call: ToolCallDelta) -> ToolCallChunk:
    return tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=call.index)


def _tool_chunk(delta: Delta, kwargs: dict[str, Any], *, v1: bool) -> ChatGenerationChunk:
    pieces = [_piece(call) for call in delta.tool_calls]
    content: str | list[str | dict[str, Any]] = delta.text
    if v1:
        content = [*_blocks(delta), *(cast("dict[str, Any]", tool_call_chunk_block(piece)) for piece in pieces)]
    message = AIMessageChunk(
        content=content,
        additional_kwargs=kwargs,
        response_metadata=dict(_V1) if v1 else {},
        tool_call_chunks=pieces,
    )
    return ChatGenerationChunk(message=message)


def last_chunk(completion: Completion, *, v1: bool, model: str) -> ChatGenerationChunk:
    """The chunk that ends a stream: metadata, usage, and `chunk_position`, by which tool calls become whole."""
    choice = completion.choices[0]
    pieces = _misfits(choice)
    content: str | list[str | dict[str, Any]] = ""
    if v1:
        content = [cast("dict[str, Any]", tool_call_chunk_block(piece)) for piece in pieces]
        if choice.refusal:
            content.append({"type": "refusal", "refusal": choice.refusal, "index": REFUSAL_INDEX})
    message = AIMessageChunk(
        content=content,
        additional_kwargs={k: v for k, v in additional_kwargs_of(choice).items() if k != "reasoning_content"},
        response_metadata=metadata_of(completion, choice, model=model) | (_V1 if v1 else {}),
        usage_metadata=usage_of(completion.usage),
        tool_call_chunks=pieces,
        chunk_position="last",
    )
    finish = {"finish_reason": choice.finish_reason} if choice.finish_reason else None
    return ChatGenerationChunk(message=message, generation_info=finish)


def _misfits(choice: Choice) -> list[ToolCallChunk]:
    """Last pieces for tool calls that were cut off.

    When LangChain joins chunks it completes broken JSON, so that a call cut off in its arguments would look whole, and
    an agent would carry it out.  A closing bracket that does not fit is beyond that repair: the call ends up in
    `invalid_tool_calls`, where it belongs, with these one or two characters after what the server sent.
    """
    pieces: list[ToolCallChunk] = []
    for number, call in enumerate(choice.tool_calls):
        if parsed_arguments(call.arguments) is None and _is_repaired(call.arguments):
            misfit = next((end for end in _MISFITS if not _is_repaired(call.arguments + end)), None)
            if misfit is not None:
                pieces.append(tool_call_chunk(name=None, args=misfit, id=None, index=number))
    return pieces


def _is_repaired(arguments: str) -> bool:
    try:
        return isinstance(parse_partial_json(arguments), dict)
    except (ValueError, RecursionError):
        return False
