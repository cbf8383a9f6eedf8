"""When tools are called, and with which arguments.

A tool is called when the request demands one, or when the user's text holds its name, a telling word of its name, or
two of its description.  Its arguments are filled in from the text.  After a tool's result comes an answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from minicpm_core.emulator.chat import Call
from minicpm_core.emulator.clues import clues_in
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.emulator.schema import fill
from minicpm_core.emulator.telling import facts_of
from minicpm_core.emulator.values import as_object

if TYPE_CHECKING:
    from minicpm_core.emulator.chat import ChatRequest, Tool

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_A-Za-z]+")
_EMPTY = frozenset(
    _WORD.findall("""
        a add an and apply are as at be by call can compute create do fetch find for from function generate get give
        has have if in input into is it its list lookup make my of on one or output query result results return returns
        run search set show string take takes tell text that the their them then this to tool two use used user value
        values what when where which who will with you your
    """)
)
"""Words that tell nothing of what a tool is for."""
_ENOUGH = 2
"""Telling words of the description that must appear in the text."""


def calls_for(request: ChatRequest) -> tuple[Call, ...]:
    """The tool calls that answer a request; none where it is answered in text."""
    forced = request.tool_choice in {"named", "required"}
    if not request.tools or request.tool_choice == "none" or (request.results and not forced):
        return ()
    text = request.question.text
    scores = [_score(tool, text) for tool in request.tools]
    best = scores.index(max(scores))
    if not forced and not scores[best]:
        return ()
    tool = request.tools[best]
    clues = clues_in(text, facts_of(request.question.media))
    arguments = as_object(fill({**tool.parameters, "type": "object"}, clues, optional=False))
    if arguments is None:
        raise Refusal("bad_value", f"The parameters of the tool {tool.name} are not those of an object.")
    return (Call(tool.name, arguments),)


def _score(tool: Tool, text: str) -> int:
    """How clearly a text asks for a tool: 0 if it does not."""
    if re.search(rf"(?<!\w){re.escape(tool.name)}(?!\w)", text):
        return 1000
    spoken = _telling(text)
    named = len(_telling(tool.name.replace("_", " ")) & spoken)
    described = len(_telling(tool.description) & spoken)
    return 100 * named + described if named or described >= _ENOUGH else 0


def _telling(text: str) -> set[str]:
    """The telling words of a text, in the singular."""
    words = {word.lower() for word in _WORD.findall(text)}
    return {word.removesuffix("s") for word in words - _EMPTY if len(word) > 1}
