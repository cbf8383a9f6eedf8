"""JSON that is asked for in words: a prompt that speaks of JSON and of a schema, and holds the schema."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.spoken import without_declarations
from minicpm_core.emulator.values import as_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from minicpm_core.emulator.chat import ChatRequest

_JSON = re.compile(r"\bJSON\b", re.IGNORECASE)
_SCHEMA = re.compile(r"\bschema\b", re.IGNORECASE)
_MOST_OBJECTS = 64
"""Braces of a text that are tried: a schema stands among a few examples, not among hundreds."""


def schema_in(request: ChatRequest) -> Mapping[str, Any] | None:
    """The JSON schema that the prompt holds; `None` where it asks for no JSON.

    It may stand in the question or the system turn, and where the question speaks of JSON again (as one does that asks
    for a repair), in an earlier message of the user.
    """
    if request.style == "react":
        return None
    asked = request.question.text
    places = [asked, *(without_declarations(turn.text) for turn in request.turns if turn.role == "system")]
    if _JSON.search(asked):
        places += [turn.text for turn in reversed(request.turns) if turn.role == "user"]
    spoken = (text for text in places if _JSON.search(text) and _SCHEMA.search(text))
    return next((schema for text in spoken for schema in [_schema(text)] if schema is not None), None)


def without_schema(text: str) -> str:
    """A text without the JSON objects in it, and without the lines that speak of JSON, where others are left."""
    text = _unescaped(text)
    kept: list[str] = []
    end = 0
    for start, stop, _ in _objects(text):
        kept.append(text[end:start])
        end = stop
    prose = "".join([*kept, text[end:]])
    lines = [line for line in prose.splitlines() if not _JSON.search(line) and not _SCHEMA.search(line)]
    rest = "\n".join(lines).strip()
    return rest if rest.strip("`") else prose


def _schema(text: str) -> Mapping[str, Any] | None:
    """The last schema of an object in a text: examples come before it."""
    found = [value for _, _, value in _objects(_unescaped(text)) if as_object(value.get("properties")) is not None]
    return found[-1] if found else None


def _unescaped(text: str) -> str:
    """A text whose braces are not doubled. LlamaIndex doubles them in its prompts for JSON, and sends them so."""
    return text.replace("{{", "{").replace("}}", "}") if '{{"' in text else text


def _objects(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Each JSON object in a text: where it begins and ends, and its value."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    for _ in range(_MOST_OBJECTS):
        if start < 0:
            return
        end = start + 1
        with contextlib.suppress(ValueError, RecursionError):  # a brace that opens no JSON
            value, end = decoder.raw_decode(text, start)
            yield start, end, value
        start = text.find("{", end)
