"""Tools and tool calls that travel as text, where nothing on the server reads or writes them for the client.

A system turn may declare tools as the chat templates do (`<tools>`, a JSON description a line) or as LlamaIndex's ReAct
agent does (`> Tool Name: …`).  Calls are then written as the model would write them: MiniCPM-V 4.6 as XML in
Qwen3-Coder's style, MiniCPM-o 4.5 and V 4.5 as JSON in Hermes' style, anything in ReAct's where that is asked for.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from minicpm_core.emulator.values import as_object
from minicpm_core.models import card_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from minicpm_core.emulator.chat import Call

CallStyle: TypeAlias = Literal["json", "react", "xml"]

_JSON_MODELS = frozenset({"MiniCPM-o 4.5", "MiniCPM-V 4.5"})
"""Cards of models whose template is Qwen3's."""

_DECLARATIONS = re.compile(r"<tools>[ \t]*\n(.*?)\n?[ \t]*</tools>", re.DOTALL)
_REACT_TOOL = "> Tool Name: "
_REACT_FORM = "Action Input:"
_MADE = re.compile(
    r'<function=(?P<xml>[^>\s]+)>|<tool_call>\s*\{\s*"name"\s*:\s*"(?P<json>[^"]+)"|^Action: (?P<react>\S+)',
    re.MULTILINE,
)
_PIECES = (3, 1, 4, 2, 5)
"""Lengths of the pieces in which a written call is streamed: no tag comes in one of them."""


def style_of(model: str) -> CallStyle:
    """How a model writes calls."""
    return "json" if card_for(model).name in _JSON_MODELS else "xml"


def declared_in(text: str, model: str) -> tuple[list[dict[str, Any]], CallStyle | None]:
    """The tools that a system turn declares, and how they are to be called.

    Args:
        text: Of the system turn.
        model: Who is asked.

    Returns:
        Objects with `name`, `description` and `parameters`; none, and no style, where no tool is declared.
    """
    listed = [tool for block in _DECLARATIONS.findall(_to_the_last_end(text)) for tool in _objects(block.splitlines())]
    if listed:
        return listed, style_of(model)
    found = list(_react_tools(text)) if _REACT_FORM in text else []
    return found, "react" if found else None


def without_declarations(text: str) -> str:
    """A text without the tools that it declares."""
    declaring = _to_the_last_end(text)
    return _DECLARATIONS.sub("", declaring) + text[len(declaring) :]


def made_in(text: str) -> list[str]:
    """The names of the tools that a text of the assistant calls."""
    return [match[match.lastgroup or 0] for match in _MADE.finditer(text)]


def write(calls: Sequence[Call], style: CallStyle) -> str:
    """Calls as a model would write them. In ReAct's style a turn has one."""
    return _WRITERS[style](calls)


def concluded(text: str, style: CallStyle | None) -> str:
    """An answer without calls, in the form that the style asks for."""
    if style != "react":
        return text
    return f"Thought: I can answer without using any more tools. I'll use the user's language to answer\nAnswer: {text}"


def cut(text: str) -> list[str]:
    """A text in pieces of a few characters; joined they give the text."""
    pieces: list[str] = []
    at = 0
    while at < len(text):
        size = _PIECES[len(pieces) % len(_PIECES)]
        pieces.append(text[at : at + size])
        at += size
    return pieces


def _to_the_last_end(text: str) -> str:
    """A text up to the last declaration's end: beyond it each opening tag would be searched for one in vain."""
    return text[: text.rfind("</tools>") + len("</tools>")] if "</tools>" in text else ""


def _objects(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The descriptions of tools, with or without `{"type": "function", "function": …}` around them."""
    for line in lines:
        try:
            found = as_object(json.loads(line))
        except (ValueError, RecursionError):
            continue
        tool = found and (as_object(found.get("function")) or found)
        if tool and isinstance(tool.get("name"), str):
            yield tool


def _react_tools(text: str) -> Iterator[dict[str, Any]]:
    for block in text.split(_REACT_TOOL)[1:]:
        name, _, rest = block.partition("\n")
        description, _, parameters = rest.partition("\nTool Args: ")
        said = description.removeprefix("Tool Description: ")
        yield {"name": name.strip(), "description": said, "parameters": _first_object(parameters)}


def _first_object(text: str) -> dict[str, Any]:
    try:
        found, _ = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return {}
    return as_object(found) or {}


def _xml(calls: Sequence[Call]) -> str:
    return "\n".join(_xml_call(call) for call in calls)


def _xml_call(call: Call) -> str:
    values = {name: value if isinstance(value, str) else _json(value) for name, value in call.arguments.items()}
    parameters = "".join(f"<parameter={name}>\n{value}\n</parameter>\n" for name, value in values.items())
    return f"<tool_call>\n<function={call.name}>\n{parameters}</function>\n</tool_call>"


def _hermes(calls: Sequence[Call]) -> str:
    bodies = (_json({"name": call.name, "arguments": dict(call.arguments)}) for call in calls)
    return "\n".join(f"<tool_call>\n{body}\n</tool_call>" for body in bodies)


def _react(calls: Sequence[Call]) -> str:
    call = calls[0]
    thought = "The current language of the user is: English. I need to use a tool to help me answer the question."
    return f"Thought: {thought}\nAction: {call.name}\nAction Input: {_json(dict(call.arguments))}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_WRITERS: dict[CallStyle, Callable[[Sequence[Call]], str]] = {"json": _hermes, "react": _react, "xml": _xml}
