"""Choices of tools, enforced here where a server does not honour them.

`tool_choice` is honoured by some servers in part and ignored by others.  What a server does not honour is made sure of
in another way: a tool that may not be called is not declared; one that must be is the only one declared and required;
or the answer is held to a JSON schema of a call and read back as one; or the model is told in words.  Whoever sees to
it, the answer is checked in the end, and `ToolCallError` says where it has not the call that it had to have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import InvalidInputError, ToolCallError
from minicpm_core.protocol.callbody import TextCall
from minicpm_core.protocol.declarations import parameters_of
from minicpm_core.protocol.fields import object_of, text_of, written
from minicpm_core.protocol.tooltext import ToolTextSplitter
from minicpm_core.protocol.typed import json_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minicpm_core.backends import Backend
    from minicpm_core.protocol.tooltext import Event
    from minicpm_core.types import Choice, Completion


ANY_TOOL, NO_TOOL = "a function", "no function"
"""What must be called where that is no tool's name; the blank in them is in none."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How the choice of a tool is made sure of.

    Attributes:
        prompted: The tools are to be declared in the system turn.
        demand: To be said to the model; empty where the server sees to it.
        must_call: The tool that must be called, `ANY_TOOL` or `NO_TOOL`; empty where the model may choose.
        as_json: The answer is a call as a JSON object.
    """

    prompted: bool
    demand: str = ""
    must_call: str = ""
    as_json: bool = False


def settle_choice(fields: dict[str, Any], backend: Backend, *, prompted: bool) -> Settled:
    """Change the fields of a body so that the choice of a tool is honoured.

    Args:
        fields: From `body_fields`; changed in place.
        backend: The server's row.
        prompted: The tools are declared in the system turn, so that the server knows nothing of them.

    Raises:
        InvalidInputError: The tool that must be called is not declared.
    """
    choice = fields.get("tool_choice")
    named = text_of(object_of(object_of(choice).get("function")).get("name"))
    kind = "named" if named else choice
    if kind not in {"none", "required", "named"}:
        return Settled(prompted)
    if named:
        _only(fields["tools"], named)
    if kind in backend.tool_choices and not prompted:
        return Settled(prompted, must_call=NO_TOOL if kind == "none" else named or ANY_TOOL)
    if kind == "none":
        _drop(fields, "tools", "tool_choice", "parallel_tool_calls")
        return Settled(prompted)
    if named:
        fields["tools"] = _only(fields["tools"], named)
        if "required" in backend.tool_choices and not prompted:
            fields["tool_choice"] = "required"
            return Settled(prompted, must_call=named)
    _drop(fields, "tool_choice")
    what = named or ANY_TOOL
    call = f"call the function {named}" if named else "call a function"
    if backend.enforces_schema and "response_format" not in fields:
        fields["response_format"] = _format_of(parameters_of(fields["tools"]))
        demand = f'You MUST {call} now. Answer with one JSON object alone: {{"name": …, "arguments": {{…}}}}.'
        return Settled(prompted=True, demand=demand, must_call=what, as_json=True)
    return Settled(prompted, f"You MUST {call} now.", what)


def _drop(fields: dict[str, Any], *names: str) -> None:
    for name in names:
        fields.pop(name, None)


def _only(tools: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    found = [tool for tool in tools if object_of(tool.get("function")).get("name") == name]
    if not found:
        raise InvalidInputError(f"tool_choice names {name!r}, which is not among the tools.")
    return found


def _format_of(tools: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The `response_format` of a call of one of the tools."""
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": name}, "arguments": dict(parameters) or {"type": "object"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for name, parameters in tools.items()
    ]
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return {"type": "json_schema", "json_schema": {"name": "tool_call", "schema": schema, "strict": True}}


class CallReader(ToolTextSplitter):
    """Reads an answer that is nothing but a call as a JSON object; any other as a text that may hold calls."""

    __slots__ = ("_received",)

    def __init__(self, tools: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(tools)
        self._received: list[str] = []

    def feed(self, piece: str) -> list[Event]:
        """Take a piece: nothing is given before the end."""
        self._received.append(piece)
        return []

    def finish(self) -> list[Event]:
        """End the text."""
        text = "".join(self._received)
        self._received = []
        call = object_of(json_value(text.strip(), otherwise=None))
        name = text_of(call.get("name"))
        if name in self._tools and isinstance(call.get("arguments"), dict):
            return [TextCall(name or "", written(call["arguments"]))]
        splitter = ToolTextSplitter(self._tools)
        return splitter.feed(text) + splitter.finish()


def check_called(completion: Completion, must_call: str, title: str) -> None:
    """Check that the call was made that had to be, or none where none might be.

    Args:
        completion: The answer.
        must_call: From `Settled`.
        title: The server, as a person would call it.

    Raises:
        ToolCallError: An answer has no such call, or has one that it must not have.
    """
    if not must_call or all(_obeys(choice, must_call) for choice in completion.choices):
        return
    what = "no function, and did" if must_call == NO_TOOL else f"{must_call} and did not"
    raise ToolCallError(
        f"The model was to call {what}: {title} did not see to it. "
        "What it answered is in `partial`. Ask again, or use a server that honours tool_choice.",
        partial=completion,
        request_id=completion.request_id,
    )


def _obeys(choice: Choice, must_call: str) -> bool:
    if must_call == NO_TOOL:
        return not choice.tool_calls
    return any(must_call in {ANY_TOOL, call.name} for call in choice.tool_calls)
