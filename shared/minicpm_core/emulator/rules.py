"""Which rule answers a request: the first in the table that has something to say."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator import texts
from minicpm_core.emulator.calls import calls_for
from minicpm_core.emulator.clues import clues_in, first_sentence
from minicpm_core.emulator.describe import NOTE
from minicpm_core.emulator.prompted import schema_in, without_schema
from minicpm_core.emulator.schema import fill
from minicpm_core.emulator.telling import facts_of, tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.emulator.chat import Call, ChatRequest
    from minicpm_core.emulator.intake import Medium

_ABOUT_MEDIA = re.compile(
    r"\b(image|picture|photo|video|clip|film|frame|recording)s?\b|\baudio\b|\bcolou?rs?\b|图|视频|录音|音频",
    re.IGNORECASE,
)
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
    in_words = schema_in(request) if not request.schema else None
    schema = in_words or request.schema
    if schema is None:
        return None
    asked = request.question.text if in_words is None else without_schema(request.question.text)
    said = "\n".join([asked, *(result.text for result in request.results)])
    known = facts_of(_media(request))
    clues = clues_in(said, known)
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
    said: list[str] = []
    for result in request.results:
        tool = f"The tool {result.name}" if result.name else "The tool"
        text = result.text.strip()[:_MOST_OF_A_RESULT]
        if text or not result.media:
            said.append(f"{tool} says: {text}")
        if result.media:
            said.append(f"{tool} shows: {tell(result.media, request.question.text).removesuffix(NOTE).rstrip()}")
    return "\n".join([*said, NOTE])


def _described(request: ChatRequest) -> str | None:
    media = _media(request)
    return tell(media, request.question.text) if media else None


def _media(request: ChatRequest) -> tuple[Medium, ...]:
    """The media in question: the last message's, or all, where it has none but speaks of them."""
    if request.question.media:
        return request.question.media
    return request.media if _ABOUT_MEDIA.search(request.question.text) else ()


_RULES: tuple[tuple[str, Callable[[ChatRequest], str | None]], ...] = (
    ("JSON", _form),
    ("tool results", _tool_result),
    ("pictures, videos and recordings", _described),
    ("repeating", texts.echo),
    ("counting", texts.count),
    ("arithmetic", texts.arithmetic),
    ("memory", texts.memory),
    ("identity", texts.identity),
    ("summaries", texts.summary),
)
"""What each rule is about, and the rule; in the order in which they are asked."""
