"""Messages as the chat templates take them.

The MiniCPM templates raise on what other models shrug off: a system message that is not the first, a second one, the
role `developer`, a conversation without a user, pictures outside user turns, tool arguments that are no JSON object.
Here messages are brought into the form that they take, or refused by name before anything is sent.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import InvalidInputError, UnsupportedContentError
from minicpm_core.parts import TextPart, text_of
from minicpm_core.protocol.content import render_part
from minicpm_core.protocol.fields import object_of
from minicpm_core.types import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minicpm_core.backends import Backend
    from minicpm_core.parts import Part
    from minicpm_core.protocol.content import Splice
    from minicpm_core.types import ToolCall

RESULT_OPEN, RESULT_CLOSE = "<tool_response>", "</tool_response>"
"""What the templates put around a tool's result, in a user turn."""
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


def normalise(messages: Sequence[Message]) -> list[Message]:
    """Messages in the order and roles that the templates take. The given ones are not changed.

    All system messages become one at the head; pictures in a tool's result follow in a user message of their own,
    after all results of that turn, since not every server takes them in a `tool` message.  It stands between the
    template's own tags of a result, so that the template takes it for one and keeps the thoughts of the tool loop.

    Raises:
        InvalidInputError: No messages, an unknown role, no user message, an empty user message.
        UnsupportedContentError: A picture in a system or assistant message.
    """
    if not messages:
        raise InvalidInputError("There are no messages: send at least one user message.")
    system: list[str] = []
    turns: list[Message] = []
    tool_pictures: list[Message] = []
    tool_names: dict[str, str] = {}
    for message in messages:
        if message.role not in _ROLES:
            known = ", ".join(_ROLES)
            raise InvalidInputError(f"Unknown role {message.role!r}: the chat templates take {known}.")
        role = _ROLES[message.role]
        if role == "system":
            system.append(_text_only(message, "system"))
            continue
        if role != "tool":
            turns += tool_pictures
            tool_pictures = []
        if role == "tool":
            turns.append(_tool_result(message))
            pictures = [part for part in message.parts if not isinstance(part, TextPart)]
            if pictures:
                name = message.name or tool_names.get(message.tool_call_id or "") or message.tool_call_id
                tool_pictures.append(_shown(name, pictures))
            continue
        if role == "assistant":
            _text_only(message, "assistant")
            tool_names |= {call.id: call.name for call in message.tool_calls}
        turns.append(message)
    turns += tool_pictures
    if not any(message.role == "user" for message in messages):
        raise InvalidInputError("There is no user message: MiniCPM's chat templates need at least one.")
    lead = "\n\n".join(text for text in system if text)
    return [Message("system", lead), *turns] if lead else turns


def _text_only(message: Message, role: str) -> str:
    for part in message.parts:
        if not isinstance(part, TextPart):
            raise UnsupportedContentError(
                f"MiniCPM takes pictures and other media in user messages only, not in {role} messages."
            )
    return text_of(message.parts)


def _tool_result(message: Message) -> Message:
    if not message.tool_call_id:
        raise InvalidInputError("A tool message must say which call it answers: set tool_call_id.")
    return Message("tool", text_of(message.parts), tool_call_id=message.tool_call_id)


def _shown(name: str | None, pictures: Sequence[Part]) -> Message:
    return Message("user", (TextPart(f"{RESULT_OPEN}\nOutput of tool {name}:"), *pictures, TextPart(RESULT_CLOSE)))


def render(messages: Sequence[Message], *, backend: Backend, splice: Splice) -> list[dict[str, Any]]:
    """Normalised messages as the JSON objects of a request.

    Args:
        messages: From `normalise`, their media prepared.
        backend: The server's row.
        splice: Gives the text that stands in for a medium's base64, or a file that is to be sent as such, until the
            body is put together.
    """
    last_user = max((n for n, message in enumerate(messages) if _asks(message)), default=-1)
    return [
        _render(message, number, backend, splice, backend.history_reasoning if number > last_user else None)
        for number, message in enumerate(messages)
    ]


def _asks(message: Message) -> bool:
    """Whether a turn is a question, which ends the tool loop before it, and not a tool's result written as one."""
    return message.role == "user" and not text_of(message.parts).startswith(RESULT_OPEN)


def _render(
    message: Message, number: int, backend: Backend, splice: Splice, reasoning_field: str | None
) -> dict[str, Any]:
    rendered: dict[str, Any] = {"role": message.role, "content": _content(message, number, backend, splice)}
    if message.name:
        rendered["name"] = message.name
    if message.tool_call_id:
        rendered["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        rendered["tool_calls"] = [_render_call(call) for call in message.tool_calls]
    if reasoning_field and message.reasoning:  # templates read thoughts of the current tool loop only
        rendered[reasoning_field] = message.reasoning
    return rendered


def _content(message: Message, number: int, backend: Backend, splice: Splice) -> str | list[dict[str, Any]]:
    parts = message.parts
    if all(isinstance(part, TextPart) for part in parts):
        text = text_of(parts)
        if not text and message.role == "user":
            raise InvalidInputError(f"Message {number} (user) is empty: give it text or a medium.")
        return text
    try:
        found = [render_part(part, backend, splice) for part in parts]
    except UnsupportedContentError as error:
        error.add_note(f"It is in message {number}.")
        raise
    return [part for part in found if part is not None]


def _render_call(call: ToolCall) -> dict[str, Any]:
    arguments_of(call)
    arguments = call.arguments.strip() or "{}"
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def arguments_of(call: ToolCall) -> dict[str, Any]:
    """The arguments of a call as an object; no arguments are an empty one.

    Raises:
        InvalidInputError: They are no JSON object.
    """
    try:
        arguments = json.loads(call.arguments.strip() or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidInputError(
            f"The arguments of the call of {call.name!r} are not a JSON object, which the chat template needs. "
            "Correct or remove that call before sending the conversation again."
        )
    return object_of(arguments)
