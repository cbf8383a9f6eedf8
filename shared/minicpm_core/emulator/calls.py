"""When tools are called, which, and with which arguments.

A tool is called when the request demands one, or when the user's text holds its name, a telling word of its name, or
two of its description.  Of several the best match is called, and beside it each one whose name has a telling word of
its own in the text.  Where the text names several subjects ("Paris and Rome") for a tool that takes one, it is called
for each.  What was called already since the question is not called again: then comes an answer.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.chat import Call
from minicpm_core.emulator.clues import clues_in, coordinated, coordinated_numbers, has_values, key_of
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.emulator.schema import fill
from minicpm_core.emulator.telling import facts_of
from minicpm_core.emulator.values import as_list, as_object

if TYPE_CHECKING:
    from collections.abc import Iterable

    from minicpm_core.emulator.chat import ChatRequest, Tool

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_A-Za-z]+")
_EMPTY = frozenset(
    _WORD.findall("""
        a an and apply are as at be by call can compute create do fetch find for from function generate get give
        has have if in input into is it its list lookup make my of on one or output query result results return returns
        run search set show string take takes tell text that the their them then this to tool two use used user value
        values what when where which who will with you your
    """)
)
"""Words that tell nothing of what a tool is for."""
_ENOUGH = 2
"""Telling words of the description that must appear in the text."""
_MOST_SUBJECTS = 8


def calls_for(request: ChatRequest) -> tuple[Call, ...]:
    """The tool calls that answer a request; none where it is answered in text."""
    tools = request.tools or request.declared
    forced = request.tool_choice in {"named", "required"}
    made = Counter(request.made)
    if not tools or request.tool_choice == "none" or (request.results and not made and not forced):
        return ()
    facts = facts_of(request.question.media)
    chosen = _chosen(tools, request.question.text, forced=forced)
    plan = [call for tool, text in chosen for call in _calls(tool, text, facts)]
    pending: list[Call] = []
    for call in plan:
        if made[call.name]:
            made[call.name] -= 1
        else:
            pending.append(call)
    wanted = (pending or plan) if forced else pending
    return tuple(wanted if request.parallel and request.style != "react" else wanted[:1])


def _chosen(tools: tuple[Tool, ...], text: str, *, forced: bool) -> list[tuple[Tool, str]]:
    """The tools that a text asks for, each with its part of the text."""
    scores = [_score(tool, text) for tool in tools]
    best = scores.index(max(scores))
    if not forced and not scores[best]:
        return []
    spoken = _telling(text)
    words_of = {best: _named(tools[best]) & spoken}
    for at, tool in enumerate(tools):
        words = _named(tool) & spoken
        if at != best and words_of[best] and words.difference(*words_of.values()):
            words_of[at] = words
    if len(words_of) == 1:
        return [(tools[best], text)]
    starts = {at: _first_of(words, text) for at, words in words_of.items()}
    order = sorted(starts, key=starts.__getitem__)
    return [(tools[at], _part(text, starts[at], starts.values())) for at in order]


def _part(text: str, start: int, starts: Iterable[int]) -> str:
    """The text from a tool's word to the next tool's, or all of it, where that part has no values."""
    part = text[start : min((other for other in starts if other > start), default=len(text))]
    return part if has_values(part) else text


def _first_of(words: set[str], text: str) -> int:
    return next((match.start() for match in _WORD.finditer(text) if _singular(match[0]) in words), 0)


def _calls(tool: Tool, text: str, facts: dict[str, Any]) -> list[Call]:
    """The calls of a tool: one, or one for each subject."""
    slot, subjects = _subjects(tool, text)
    if slot in facts or len(subjects) < 2:  # noqa: PLR2004 - one subject is the usual case
        return [_call(tool, text, facts)]
    return [_call(tool, text, {**facts, key_of(slot): subject}) for subject in subjects[:_MOST_SUBJECTS]]


def _call(tool: Tool, text: str, facts: dict[str, Any]) -> Call:
    arguments = as_object(fill({**tool.parameters, "type": "object"}, clues_in(text, facts), optional=False))
    if arguments is None:
        raise Refusal("bad_value", f"The parameters of the tool {tool.name} are not those of an object.")
    return Call(tool.name, arguments)


def _subjects(tool: Tool, text: str) -> tuple[str, list[Any]]:
    """The one required argument that a subject fits, and the subjects that the text lists."""
    properties = as_object(tool.parameters.get("properties")) or {}
    required = as_list(tool.parameters.get("required")) or []
    kinds = {name: _free_kind(properties.get(name)) for name in required if isinstance(name, str)}
    for kind, listed in (("string", coordinated), ("number", coordinated_numbers)):
        slots = [name for name, found in kinds.items() if found == kind]
        if slots:
            return (slots[0], listed(text)) if len(slots) == 1 else ("", [])
    return "", []


def _free_kind(schema: Any) -> str:
    """`string`, `number`, or nothing, where the schema leaves no choice of subjects."""
    plain = as_object(schema) or {}
    kind = plain.get("type")
    if "enum" in plain or "const" in plain or "format" in plain or not isinstance(kind, str):
        return ""
    return {"string": "string", "integer": "number", "number": "number"}.get(kind, "")


def _score(tool: Tool, text: str) -> int:
    """How clearly a text asks for a tool: 0 if it does not."""
    if re.search(rf"(?<!\w){re.escape(tool.name)}(?!\w)", text):
        return 1000
    spoken = _telling(text)
    named = len(_named(tool) & spoken)
    described = len(_telling(tool.description) & spoken)
    return 100 * named + described if named or described >= _ENOUGH else 0


def _named(tool: Tool) -> set[str]:
    return _telling(tool.name.replace("_", " "))


def _telling(text: str) -> set[str]:
    """The telling words of a text, in the singular."""
    words = {word.lower() for word in _WORD.findall(text)}
    return {_singular(word) for word in words - _EMPTY if len(word) > 1}


def _singular(word: str) -> str:
    return word.lower().removesuffix("s")
