"""The messages of a request: checked as the MiniCPM chat templates check them, and their media looked at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.chat import Call, Turn
from minicpm_core.emulator.fields import missing, wrong_type
from minicpm_core.emulator.pictures import Picture
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.emulator.values import as_list, as_object
from minicpm_core.emulator.videos import Video

if TYPE_CHECKING:
    from minicpm_core.emulator.intake import Intake, Medium
    from minicpm_core.emulator.values import Json, Object

_ROLES = frozenset({"system", "user", "assistant", "tool"})
_NOT_IN_SYSTEM = ((Picture, "images"), (Video, "videos"))
"""What the chat template refuses there, and its name for it."""


def read_messages(messages: list[Any], intake: Intake) -> tuple[Turn, ...]:
    """The conversation.

    Args:
        messages: As received.
        intake: Decides which media and roles are taken.

    Raises:
        Refusal: The template or the server would refuse a message.
    """
    if not messages:
        raise Refusal("template", "Cannot apply chat template to an empty conversation. Provide at least one message.")
    turns = tuple(_turn(message, f"messages.{at}", intake) for at, message in enumerate(messages))
    if any(turn.role == "system" for turn in turns[1:]):
        raise Refusal("template", "System message must be at the beginning.")
    if turns[0].role == "system":
        for kind, name in _NOT_IN_SYSTEM:
            if any(isinstance(medium, kind) for medium in turns[0].media):
                raise Refusal("template", f"System message cannot contain {name}.")
    if all(turn.role != "user" for turn in turns):
        raise Refusal("template", "No user query found in messages.")
    return turns


def _turn(given: Json, param: str, intake: Intake) -> Turn:
    message = as_object(given)
    if message is None:
        raise wrong_type(param, given, "object")
    if "role" not in message:
        raise missing(f"{param}.role")
    role = message["role"]
    if role == "developer" and "developer_role" in intake.dialect.lets_pass:
        role = "system"
    if not isinstance(role, str) or role not in _ROLES:
        raise Refusal("template", "Unexpected message role.")
    for name, value in message.items():
        # A null is refused by one server or another wherever it stands, but for an assistant that only called tools.
        if value is None and not (name == "content" and role == "assistant"):
            raise wrong_type(f"{param}.{name}", None, "string")
    if "content" not in message and role != "assistant":
        raise missing(f"{param}.content")
    for name in ("name", "tool_call_id", "reasoning", "reasoning_content"):
        if not isinstance(message.get(name, ""), str):
            raise wrong_type(f"{param}.{name}", message[name], "string")
    text, media = _content(message.get("content"), f"{param}.content", intake)
    return Turn(role, text, media, _calls(message, param), message.get("tool_call_id", ""))


def _content(content: Json, param: str, intake: Intake) -> tuple[str, tuple[Medium, ...]]:
    if content is None or isinstance(content, str):
        return content or "", ()
    parts = as_list(content)
    if parts is None:
        raise wrong_type(param, content, "string")
    texts: list[str] = []
    media: list[Medium] = []
    for at, given in enumerate(parts):
        part = as_object(given)
        if part is None:
            raise wrong_type(f"{param}.{at}", given, "object")
        if part.get("type") == "text":
            texts.append(_text(part, f"{param}.{at}"))
            continue
        medium = intake.take(part, f"{param}.{at}")
        if medium is None:
            raise Refusal("template", "Unexpected item type in content.")
        media.append(medium)
    return "\n".join(texts), tuple(media)


def _text(part: Object, param: str) -> str:
    text = part.get("text")
    if not isinstance(text, str):
        raise wrong_type(f"{param}.text", text, "string")
    return text


def _calls(message: Object, param: str) -> tuple[Call, ...]:
    given = message.get("tool_calls", [])
    calls = as_list(given)
    if calls is None:
        raise wrong_type(f"{param}.tool_calls", given, "array")
    return tuple(_call(call, f"{param}.tool_calls.{at}") for at, call in enumerate(calls))


def _call(given: Json, param: str) -> Call:
    call = as_object(given)
    function = as_object(call.get("function")) if call else None
    if call is None or function is None:
        raise wrong_type(param if call is None else f"{param}.function", given, "object")
    for owner, name in ((call, "id"), (function, "name"), (function, "arguments")):
        if not isinstance(owner.get(name), str):
            raise wrong_type(f"{param}.{name}", owner.get(name), "string")
    try:
        arguments = as_object(json.loads(function["arguments"]))
    except (ValueError, RecursionError):
        arguments = None
    if arguments is None:
        # What the template does with them: `{% for name, value in arguments | items %}`.
        raise Refusal("tool_arguments", "Can only get item pairs from a mapping.")
    return Call(function["name"], arguments, call["id"])
