"""Which rule answers a request: the first in the table that has something to say."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator import texts
from minicpm_core.emulator.calls import calls_for
from minicpm_core.emulator.clues import clues_in, first_sentence
from minicpm_core.emulator.describe import NOTE, describe, measures
from minicpm_core.emulator.schema import fill

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.emulator.chat import Call, ChatRequest
    from minicpm_core.emulator.pictures import Picture

_ABOUT_PICTURES = re.compile(r"\b(image|picture|photo)s?\b|\bcolou?rs?\b|图", re.IGNORECASE)
_KEY = re.compile(r"""["'`]([A-Za-z_]\w{0,40})["'`]""")
_MOST_OF_A_RESULT = 500


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a rule says.

    Attributes:
        rule: What the rule is about, in words.
        text: The answer; empty where tools are called.
        calls: Tool calls.
    """

    rule: str
    text: str = ""
    calls: tuple[Call, ...] = ()


def decide(request: ChatRequest) -> Ruling:
    """The answer to a request."""
    calls = calls_for(request)
    if calls:
        return Ruling("tools", calls=calls)
    for rule, answer in _RULES:
        text = answer(request)
        if text is not None:
            return Ruling(rule, text)
    return Ruling("everything else", texts.received(request))


def _form(request: ChatRequest) -> str | None:
    if request.schema is None:
        return None
    said = "\n".join([request.question.text, *(turn.text for turn in request.results)])
    known = measures(_pictures(request))
    clues = clues_in(said, known)
    schema = request.schema
    if not schema:
        keys = dict.fromkeys(_KEY.findall(said))
        text: dict[str, Any] = {"type": "string"}
        schema = {"type": "object", "properties": dict.fromkeys(keys or ("answer",), text)}
        if not keys:
            clues = clues_in(said, {**known, "answer": known.get("description", first_sentence(said))})
    return json.dumps(fill(schema, clues), ensure_ascii=False)


def _tool_result(request: ChatRequest) -> str | None:
    if not request.results:
        return None
    names = {call.id: call.name for turn in request.turns for call in turn.calls}
    said: list[str] = []
    for result in request.results:
        name = names.get(result.call_id)
        text = result.text.strip()[:_MOST_OF_A_RESULT]
        said.append(f"The tool {name} says: {text}" if name else f"The tool says: {text}")
        if result.pictures:
            said.append(describe(result.pictures, request.question.text))
    return "\n".join([*said, NOTE])


def _described(request: ChatRequest) -> str | None:
    pictures = _pictures(request)
    return describe(pictures, request.question.text) if pictures else None


def _pictures(request: ChatRequest) -> tuple[Picture, ...]:
    """The pictures in question: the last message's, or all, where it has none but speaks of them."""
    if request.question.pictures:
        return request.question.pictures
    if not _ABOUT_PICTURES.search(request.question.text):
        return ()
    return tuple(picture for turn in request.turns for picture in turn.pictures)


_RULES: tuple[tuple[str, Callable[[ChatRequest], str | None]], ...] = (
    ("JSON", _form),
    ("tool results", _tool_result),
    ("pictures", _described),
    ("repeating", texts.echo),
    ("counting", texts.count),
    ("arithmetic", texts.arithmetic),
    ("memory", texts.memory),
    ("identity", texts.identity),
    ("summaries", texts.summary),
)
"""What each rule is about, and the rule; in the order in which they are asked."""
