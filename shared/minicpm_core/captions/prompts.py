"""What is asked of a picture, and the caption that comes of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from minicpm_core.errors import InvalidInputError, StructuredOutputError
from minicpm_core.structured import extract_json

if TYPE_CHECKING:
    from collections.abc import Mapping

PROMPT_VERSION: Final = "1"
"""Of the prompts below. It changes with them; captions of another version are asked for again."""

CAPTION_PROMPT: Final = (
    "Describe this picture so that a text search can find it and a reader who does not see it knows what it shows. "
    "Say what kind of picture it is, what is in it and where. "
    "Write down all legible text word for word, and the figures of charts and tables. "
    "Name people, places and products only where the picture itself tells. "
    "Write plain prose, without an introduction."
)
"""Asks for a caption in prose."""

STRUCTURED_PROMPT: Final = (
    "Read this picture for a search index. "
    "Say in the summary what kind of picture it is and what it shows, in one to four sentences. "
    "Copy all legible text outside of tables word for word, in reading order. "
    "Write each table as a Markdown table, and each chart as the table of its figures. "
    "List as entities the people, organisations, places, products, dates and amounts that the picture itself names. "
    "Leave empty what it does not have."
)
"""Asks for a caption in the fields of `CAPTION_SCHEMA`."""

CAPTION_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "summary": {"type": "string", "description": "What kind of picture it is and what it shows."},
        "visible_text": {"type": "string", "description": "All legible text outside of tables, word for word."},
        "tables": {"type": "array", "items": {"type": "string"}, "description": "Each as one Markdown table."},
        "entities": {"type": "array", "items": {"type": "string"}, "description": "What the picture itself names."},
    },
    "required": ["summary", "visible_text", "tables", "entities"],
    "additionalProperties": False,
}
"""The JSON schema of a structured caption."""

_TEXTS = ("text", "summary", "visible_text")
_LISTS = ("tables", "entities")


@dataclass(frozen=True, slots=True)
class Caption:
    """What was read off a picture. A plain caption has `text` alone, a structured one the other fields.

    Attributes:
        text: Prose.
        summary: What kind of picture it is and what it shows.
        visible_text: Legible text, word for word.
        tables: Tables, and the figures of charts, in Markdown.
        entities: People, organisations, places, products, dates and amounts that are named.
    """

    text: str = ""
    summary: str = ""
    visible_text: str = ""
    tables: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()

    @property
    def structured(self) -> bool:
        """Whether it has fields beside prose."""
        return bool(self.summary or self.visible_text or self.tables or self.entities)

    def to_text(self) -> str:
        """All of it as one text, in Markdown, for a search index and for a model to read."""
        named = f"Names: {', '.join(self.entities)}" if self.entities else ""
        shown = f"Text in the picture:\n{self.visible_text}" if self.visible_text else ""
        return "\n\n".join(filter(None, (self.text, self.summary, shown, *self.tables, named)))

    def to_dict(self) -> dict[str, Any]:
        """The fields, of types that JSON has."""
        fields: dict[str, Any] = asdict(self)
        return fields | {name: list(fields[name]) for name in _LISTS}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Caption:
        """The opposite of `to_dict`. What is missing is empty.

        Raises:
            InvalidInputError: A field is unknown or of another type.
        """
        unknown = sorted(fields.keys() - {*_TEXTS, *_LISTS})
        wrong = [name for name in _TEXTS if not isinstance(fields.get(name, ""), str)]
        wrong += [name for name in _LISTS if not _is_list_of_texts(fields.get(name, []))]
        if unknown or wrong:
            told = f"it has no field {unknown[0]!r}" if unknown else f"{wrong[0]!r} is of another type"
            raise InvalidInputError(f"These are not the fields of a caption: {told}.")
        lists: dict[str, Any] = {name: tuple(fields[name]) for name in _LISTS if name in fields}
        return cls(**(dict(fields) | lists))

    @classmethod
    def from_answer(cls, answer: str) -> Caption:
        """A structured caption from what the model wrote: JSON, perhaps with prose or a code fence around it.

        Args:
            answer: The answer, whole.

        Raises:
            StructuredOutputError: There is no JSON, or not of the fields of `CAPTION_SCHEMA`.
        """
        fields: Any = json.loads(extract_json(answer))
        problem = _problem(fields)
        if problem:
            raise StructuredOutputError(
                f"The caption is not of the fields that were asked for: {problem} The error's `text` has it.",
                text=answer,
                problem=problem,
            )
        known = cast("dict[str, Any]", fields)
        return cls.from_dict({name: known[name] for name in CAPTION_SCHEMA["required"]})


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in cast("list[Any]", value))


def _problem(fields: Any) -> str:
    """What is wrong with a decoded answer; empty if nothing is."""
    if not isinstance(fields, dict):
        return "an object was expected."
    known = cast("dict[str, Any]", fields)
    for name, rule in CAPTION_SCHEMA["properties"].items():
        if name not in known:
            return f"{name} is missing."
        fits = isinstance(known[name], str) if rule["type"] == "string" else _is_list_of_texts(known[name])
        if not fits:
            return f"{name} is not {'a string' if rule['type'] == 'string' else 'a list of strings'}."
    return ""
