"""Tools: what `chat_with_tools` and its kin send, and the calls that come back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.llms import utils
from llama_index.core.llms.llm import ToolSelection

from minicpm_core.errors import InvalidInputError, MalformedReplyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llama_index.core.tools import BaseTool

    from minicpm_core.types import ToolCall, ToolCallDelta

_CHOICES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
_EXCERPT = 200
_GROWTH = 9 / 8
"""Unfinished arguments are read again when they have grown by an eighth: about nine times their length in all."""


def tool_request(
    tools: Sequence[BaseTool],
    *,
    user_msg: str | ChatMessage | None,
    chat_history: Sequence[ChatMessage] | None,
    tool_required: bool,
    tool_choice: str | Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What `chat` is called with for a conversation with tools; nothing in it is `None` or an empty list of tools.

    Args:
        tools: The tools to offer.
        user_msg: Comes after the history.
        chat_history: Not changed.
        tool_required: The model must call a tool.
        tool_choice: `auto`, `none`, `required`, the name of a tool, or OpenAI's object. Wins over `tool_required`.

    Raises:
        InvalidInputError: The choice names no tool that is offered.
    """
    messages = list(chat_history or ())
    if user_msg is not None and user_msg != "":
        messages.append(ChatMessage(user_msg, role=MessageRole.USER) if isinstance(user_msg, str) else user_msg)
    request: dict[str, Any] = {"messages": messages}
    choice = tool_choice or ("required" if tool_required else None)
    declared = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
    if declared:
        request["tools"] = declared
    if choice is not None:
        request |= _choice(choice, [tool["function"]["name"] for tool in declared])
    return request


def _choice(choice: str | Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    if not isinstance(choice, str):
        return {"tool_choice": dict(choice)}
    known = _CHOICES.get(choice)
    if known is None and choice not in names:
        offered = ", ".join(names) or "none"
        raise InvalidInputError(
            f"tool_choice {choice!r} is neither auto, none, required nor a tool (given: {offered})."
        )
    if known == "required" and not names:
        raise InvalidInputError("A tool call is required, but no tools are given.")
    if known is not None:
        return {"tool_choice": known} if names else {}
    return {"tool_choice": {"type": "function", "function": {"name": choice}}}


def tool_selections(message: ChatMessage) -> list[ToolSelection]:
    """The calls in an answer, ready for LlamaIndex's tools. Arguments were parsed when the message was made.

    Raises:
        MalformedReplyError: Arguments are not a JSON object. They are never guessed.
    """
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    return [
        ToolSelection(
            tool_id=block.tool_call_id or block.tool_name,
            tool_name=block.tool_name,
            tool_kwargs=_checked(block.tool_name, block.tool_kwargs),
        )
        for block in blocks
    ]


def _checked(name: str, arguments: dict[str, Any] | str) -> dict[str, Any]:
    parsed = parsed_arguments(arguments) if isinstance(arguments, str) else arguments
    if isinstance(parsed, str):
        raise MalformedReplyError(
            f"The model called {name!r} with arguments that are not a JSON object: {parsed[:_EXCERPT]!r}. "
            "Where they are cut off, raise max_tokens; otherwise ask again.",
            body=parsed[:_EXCERPT],
        )
    return dict(parsed)


def parsed_arguments(text: str) -> dict[str, Any] | str:
    """The arguments of a call as an object, or the text as it is where that is not one. No text is no arguments."""
    try:
        parsed: Any = json.loads(text) if text.strip() else {}
    except ValueError:
        return text
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else text


def call_json(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A call in the form of `additional_kwargs["tool_calls"]`."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def call_block(call: ToolCall) -> ToolCallBlock:
    """A finished call as a block; arguments that are not a JSON object stay text."""
    return ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=parsed_arguments(call.arguments))


def first_call_only(response: ChatResponse) -> ChatResponse:
    """The response without any call but the first, for callers that allow no parallel calls."""
    message = response.message
    calls = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if len(calls) <= 1:
        return response
    blocks = [block for block in message.blocks if not isinstance(block, ToolCallBlock) or block is calls[0]]
    extra = message.additional_kwargs | {"tool_calls": message.additional_kwargs.get("tool_calls", [])[:1]}
    single = ChatMessage(role=message.role, blocks=blocks, additional_kwargs=extra)
    return response.model_copy(update={"message": single})


@dataclass(slots=True)
class _GrowingCall:
    """A call whose arguments are still coming."""

    id: str
    name: str
    arguments: str = ""
    parsed: dict[str, Any] = field(default_factory=dict[str, Any])
    parsed_at: int = 0

    def grow(self, piece: ToolCallDelta) -> None:
        self.name = piece.name or self.name
        self.arguments += piece.arguments
        if len(self.arguments) <= self.parsed_at * _GROWTH:
            return
        self.parsed_at = len(self.arguments)
        try:
            parsed = cast("Any", utils.parse_partial_json(self.arguments))  # pyright: ignore[reportUnknownMemberType]
        except ValueError:
            return  # cannot be read so far; the finished call is read strictly
        if isinstance(parsed, dict):
            self.parsed = cast("dict[str, Any]", parsed)


class GrowingCalls:
    """The calls of a stream as far as they have come."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        """Begin without calls."""
        self._calls: list[_GrowingCall] = []

    def __bool__(self) -> bool:
        """Whether any call was seen."""
        return bool(self._calls)

    def feed(self, pieces: Iterable[ToolCallDelta]) -> None:
        """Take the pieces of a delta."""
        for piece in pieces:
            while len(self._calls) <= piece.index:
                self._calls.append(_GrowingCall(piece.id or "", piece.name or ""))
            self._calls[piece.index].grow(piece)

    def blocks(self) -> list[ToolCallBlock]:
        """A block for each call that has a name, with the arguments that can be read so far."""
        return [
            ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=dict(call.parsed))
            for call in self._calls
            if call.name
        ]

    def json(self) -> list[dict[str, Any]]:
        """The same for `additional_kwargs["tool_calls"]`, with the text of the arguments so far."""
        return [call_json(call.id, call.name, call.arguments) for call in self._calls if call.name]
