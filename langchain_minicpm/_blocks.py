"""Content blocks, both ways: what LangChain messages hold to the core's parts, and answers to standard blocks.

A block is read by a row of `_READERS`; one of another kind is refused by name.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any, Final, cast

from langchain_minicpm._media import MEDIA_READERS
from minicpm_core.errors import InvalidInputError, UnsupportedContentError
from minicpm_core.parts import TextPart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.messages import content as types

    from minicpm_core.parts import Part

TEXT_INDEX: Final = "lc_text_0"
REASONING_INDEX: Final = "lc_reasoning_0"
REFUSAL_INDEX: Final = "lc_refusal_0"
"""Streamed blocks with the same index are joined; a string is joined only if it begins with `lc_`."""

OUTPUT_ONLY: Final = frozenset({
    "function_call", "input_json_delta", "invalid_tool_call", "non_standard", "reasoning", "redacted_thinking",
    "server_tool_call", "server_tool_call_chunk", "server_tool_result", "thinking", "tool_call", "tool_call_chunk",
    "tool_use",
})  # fmt: skip
"""Blocks of an assistant turn that are no content to send back; its tool calls and reasoning are read apart."""


def parts_of(
    content: str | Sequence[str | Mapping[Any, Any]], *, skip: frozenset[str] = frozenset()
) -> str | tuple[Part, ...]:
    """The content of a message in the core's form; a lone text stays a plain string.

    Args:
        content: A string, or strings and content blocks.
        skip: Types of blocks to pass over.

    Raises:
        UnsupportedContentError: A block of a kind that cannot be sent.
        InvalidInputError: A block without what its type promises.
    """
    if isinstance(content, str):
        return content
    parts = tuple(part for block in content if (part := _part(block, skip)) is not None)
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return parts[0].text
    return parts


def _part(block: str | Mapping[Any, Any], skip: frozenset[str]) -> Part | None:
    if isinstance(block, str):
        return TextPart(block) if block else None
    kind = block_type(block)
    if kind in skip:
        return None
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(block)
    known = ", ".join(sorted(_READERS))
    raise UnsupportedContentError(f"The content block {kind!r} is not known. What can be sent: {known}.")


def block_type(block: Mapping[Any, Any]) -> str:
    """The type of a block; a block that only has `text` is a text, as LangChain's own parsers hold."""
    kind = block.get("type")
    if kind is None and isinstance(block.get("text"), str):
        return "text"
    return str(kind)


def _text(block: Mapping[Any, Any]) -> Part | None:
    text = block.get("text")
    if not isinstance(text, str):
        raise InvalidInputError("A text block must have a string under 'text'.")
    return TextPart(text) if text else None


def _plain_text(block: Mapping[Any, Any]) -> Part | None:
    if isinstance(block.get("text"), str):
        return _text(block)
    encoded = block.get("base64")
    if isinstance(encoded, str):
        try:
            return TextPart(binascii.a2b_base64(encoded).decode())
        except ValueError as error:
            raise InvalidInputError("A text-plain block must hold Base64 of UTF-8 text.") from error
    raise UnsupportedContentError("A text-plain block must hold its text: URLs and file ids are not read.")


_READERS: Final[dict[str, Callable[[Mapping[Any, Any]], Part | None]]] = {
    **MEDIA_READERS,
    "refusal": lambda block: TextPart(str(block.get("refusal") or "")),
    "text": _text,
    "text-plain": _plain_text,
}


def reasoning_of(message: AIMessage) -> str | None:
    """The thoughts of an assistant turn, whichever integration wrote it; several blocks are joined by line breaks."""
    found = message.additional_kwargs.get("reasoning_content")
    if isinstance(found, str):
        return found or None
    if isinstance(message.content, str):
        return None
    thoughts = (
        block.get("reasoning") or block.get("thinking")
        for block in message.content
        if isinstance(block, dict) and block.get("type") in {"reasoning", "thinking"}
    )
    return "\n".join(thought for thought in thoughts if thought and isinstance(thought, str)) or None


def content_blocks(message: AIMessage) -> list[types.ContentBlock]:
    """The standard blocks of an answer: reasoning, text, refusal, tool calls."""
    blocks = _said(message)
    present = {block.get("id") for block in blocks if block["type"] in {"tool_call", "invalid_tool_call"}}
    for call in message.tool_calls:
        if call["id"] not in present:
            blocks.append({"type": "tool_call", "id": call["id"], "name": call["name"], "args": call["args"]})
    for broken in message.invalid_tool_calls:
        if broken["id"] not in present:
            blocks.append(cast("types.ContentBlock", {**broken, "type": "invalid_tool_call"}))
    return blocks


def chunk_content_blocks(chunk: AIMessageChunk) -> list[types.ContentBlock]:
    """The standard blocks of a piece of an answer; a tool call is whole only on the last piece."""
    if chunk.chunk_position == "last" or not chunk.tool_call_chunks:
        return content_blocks(chunk)
    return _said(chunk) + [tool_call_chunk_block(call) for call in chunk.tool_call_chunks]


def tool_call_chunk_block(call: Any) -> types.ContentBlock:
    """A piece of a tool call, with an index that no text block shares (equal indices are merged into one block)."""
    block: types.ToolCallChunk = {
        "type": "tool_call_chunk", "id": call["id"], "name": call["name"], "args": call["args"],
    }  # fmt: skip
    if call["index"] is not None:
        block["index"] = f"lc_tool_{call['index']}"
    return block


def _said(message: AIMessage) -> list[types.ContentBlock]:
    blocks: list[types.ContentBlock] = []
    if isinstance(message.content, str):
        if message.content:
            blocks.append({"type": "text", "text": message.content})
    else:
        blocks += [
            cast("types.ContentBlock", {"type": "text", "text": item} if isinstance(item, str) else item)
            for item in message.content
        ]
    reasoning = message.additional_kwargs.get("reasoning_content")
    if reasoning and not any(block["type"] == "reasoning" for block in blocks):
        blocks.insert(0, {"type": "reasoning", "reasoning": reasoning})
    refusal = message.additional_kwargs.get("refusal")
    if refusal:
        blocks.append(cast("types.ContentBlock", {"type": "refusal", "refusal": refusal}))
    return blocks
