"""Content blocks, both ways: what LangChain messages hold to the core's parts, and answers to standard blocks.

A block is read by a row of `_READERS`.  Kinds that this version cannot send are rows of `_REFUSED`, so that the error
names the block and says what to do.  Only text in a message is ever read: a path or a `file:` URL is refused, since a
message may come from a user, a tool or a model.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from minicpm_core.errors import InvalidInputError, UnsupportedContentError
from minicpm_core.media import image_from_base64, image_from_url
from minicpm_core.parts import TextPart

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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

_NOT_YET: Final = "is not supported yet: MiniCPM gets text and pictures in this version"
_REFUSED: Final[dict[str, str]] = {
    "audio": _NOT_YET,
    "document": f"{_NOT_YET}. Send its text, or its pages as pictures",
    "file": f"{_NOT_YET}. Send its text, or its pages as pictures",
    "input_audio": _NOT_YET,
    "video": f"{_NOT_YET}. Send some of its frames as pictures",
    "video_url": f"{_NOT_YET}. Send some of its frames as pictures",
}


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
    if kind in _REFUSED:
        raise UnsupportedContentError(f"The content block {kind!r} {_REFUSED[kind]}.")
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


def _image(block: Mapping[Any, Any]) -> Part:
    """A LangChain block, of version 1 (`base64`, `url`) or 0 (`data`), or an Anthropic one (`source`)."""
    source = block.get("source")
    if isinstance(source, Mapping):
        inner = cast("Mapping[str, Any]", source)
        return _image({"base64": inner.get("data"), "url": inner.get("url"), "file_id": inner.get("file_id"),
                       "mime_type": inner.get("media_type")})  # fmt: skip
    extras = block.get("extras")
    detail = block.get("detail") or (
        cast("Mapping[str, Any]", extras).get("detail") if isinstance(extras, Mapping) else None
    )
    encoded = block.get("base64") or block.get("data")
    if isinstance(encoded, str | bytes):
        if encoded[:5] in {"data:", b"data:"}:
            return image_from_url(_decoded(encoded), detail=detail)
        return image_from_base64(encoded, block.get("mime_type"), detail=detail)
    url = block.get("url")
    if isinstance(url, str):
        return image_from_url(url, detail=detail)
    if block.get("file_id") or block.get("source_type") == "id":
        raise UnsupportedContentError(
            "An image block with a file id cannot be sent: MiniCPM servers store no files. Send its bytes as Base64."
        )
    raise InvalidInputError("An image block must have 'base64' or a data URL under 'url'.")


def _decoded(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode("ascii", "replace")


def _image_url(block: Mapping[Any, Any]) -> Part:
    """OpenAI's block: a URL, or an object with a URL and a detail."""
    given = block.get("image_url")
    inner = cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else {"url": given}
    url = inner.get("url")
    if not isinstance(url, str):
        raise InvalidInputError("An image_url block must have a URL: {'image_url': {'url': 'data:image/…'}}.")
    return image_from_url(url, detail=inner.get("detail"))


_READERS: Final[dict[str, Callable[[Mapping[Any, Any]], Part | None]]] = {
    "image": _image,
    "image_url": _image_url,
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
