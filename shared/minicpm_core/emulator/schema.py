"""Filling in a JSON schema by rule, so that the result fits it: the same text gives the same values.

Understood are types (also several), `properties`, `required`, `items`, `prefixItems`, `enum`, `const`, `default`,
`$ref` within the schema, `anyOf`, `oneOf` and `allOf`, bounds and lengths, and the formats in the table.  `pattern`,
`not`, `if` and their like are not: a schema with them may get values that do not fit.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.clues import first_sentence, listed
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.emulator.values import as_list, as_object, is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from minicpm_core.emulator.clues import Clues

_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "duration": "P1D",
    "email": "nobody@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "00:00:00Z",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_SPOKEN_FORMATS = {
    "date": re.compile(r"(?<!\d)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])(?!\d)"),
    "email": re.compile(r"[A-Za-z0-9][\w+-]*@[A-Za-z0-9-]+\.[A-Za-z]{2,}", re.ASCII),
    "uri": re.compile(r"https?://[A-Za-z0-9.-]+(?:/[\w/%=&?.~-]*[\w/])?", re.ASCII),
}
"""Formats that are looked for in the text."""
_NULLABLE = "$nullable"
"""Marks a resolved schema of which null was an alternative."""
_NARROWING = frozenset({"const", "format", "maxLength", "minLength", "pattern"})
"""With these, what a text lists may not fit."""
_DEEPEST = 6
"""Below this depth optional properties and items are left out, so that a schema that holds itself comes to an end."""
_MOST_ITEMS = 8
_NO_WORDS = frozenset({"0", "false", "no", "none", "off"})


def fill(schema: Mapping[str, Any], clues: Clues, *, optional: bool = True) -> Any:
    """A value that fits a schema.

    Args:
        schema: A JSON schema.
        clues: What the text offers; used up on the way.
        optional: Whether properties that are not required are filled in although the text does not name them.

    Raises:
        Refusal: The schema asks for a value without an end, or has no sense (`minItems: "many"`).
    """
    try:
        return _Filler(schema, clues, optional=optional).value(schema, "", 0)
    except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
        raise Refusal("bad_value", f"The JSON schema cannot be followed ({type(error).__name__}).") from None


class _Filler:
    def __init__(self, root: Mapping[str, Any], clues: Clues, *, optional: bool) -> None:
        self.root = root
        self.clues = clues
        self.optional = optional
        self.makers: dict[str, Callable[[Mapping[str, Any], str, int], Any]] = {
            "object": self.object,
            "array": self.array,
            "string": self.string,
            "integer": self.number,
            "number": self.number,
            "boolean": self.boolean,
            "null": _nothing,
        }

    def value(self, schema: Any, name: str, depth: int) -> Any:
        plain = self.resolved(schema)
        if "const" in plain:
            return plain["const"]
        choices = as_list(plain.get("enum"))
        if choices:
            return self.choice(plain, choices, name)
        return self.makers[_type(plain)](plain, name, depth)

    def resolved(self, schema: Any, budget: int = 8) -> Mapping[str, Any]:
        """The schema without references and alternatives: the first alternative that is not null is taken.

        Args:
            schema: The schema.
            budget: References to follow: a longer chain is taken for a circle.
        """
        plain: Mapping[str, Any] = as_object(schema) or {}
        for left in range(budget, 0, -1):
            if "$ref" in plain:
                rest = {key: value for key, value in plain.items() if key != "$ref"}
                plain = {**self.referred(str(plain["$ref"])), **rest}
                continue
            key = next((key for key in ("allOf", "anyOf", "oneOf") if as_list(plain.get(key))), None)
            if key is None:
                return plain
            options = [as_object(option) or {} for option in plain[key]]
            taken = options if key == "allOf" else [_first_not_null(options)]
            may_be_null = key != "allOf" and any(option.get("type") == "null" for option in options)
            plain = {k: v for k, v in plain.items() if k != key} | ({_NULLABLE: True} if may_be_null else {})
            for option in taken:
                plain = _merged(plain, self.resolved(option, left - 1))
        return {}

    def referred(self, reference: str) -> Mapping[str, Any]:
        found: Any = self.root
        for step in reference.removeprefix("#").split("/")[1:]:
            found = (as_object(found) or {}).get(step.replace("~1", "/").replace("~0", "~"))
        return as_object(found) or {}

    def choice(self, schema: Mapping[str, Any], choices: list[Any], name: str) -> Any:
        named = str(self.clues.value(name) or "").lower()
        text = self.clues.text.lower()
        wanted = (choice for choice in choices if isinstance(choice, str) and choice.lower() == named)
        spoken = (choice for choice in choices if isinstance(choice, str) and choice and choice.lower() in text)
        otherwise = None if None in choices else choices[0]
        return next(wanted, next(spoken, _absent(schema, otherwise)))

    def is_spoken(self, schema: Mapping[str, Any]) -> bool:
        """Whether the text holds one of the choices of a schema."""
        choices = as_list(schema.get("enum")) or []
        text = self.clues.text
        return any(
            isinstance(choice, str) and choice and re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text, re.IGNORECASE)
            for choice in choices
        )

    def object(self, schema: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
        del name
        properties = as_object(schema.get("properties")) or {}
        required = as_list(schema.get("required")) or []
        filled: dict[str, Any] = {}
        for key, child in properties.items():
            plain = self.resolved(child)
            named = self.clues.value(key) is not None or self.is_spoken(plain)
            if key not in required and (depth >= _DEEPEST or not (self.optional or named)):
                continue
            if key not in required and not named and "default" in plain:
                filled[key] = plain["default"]
            else:
                filled[key] = self.value(child, key, depth + 1)
        for key in required:
            filled.setdefault(key, first_sentence(self.clues.text))
        return filled

    def array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        fixed = as_list(schema.get("prefixItems")) or []
        filled = [self.value(child, name, depth + 1) for child in fixed]
        lowest, highest = int(schema.get("minItems", 0)), int(schema.get("maxItems", _MOST_ITEMS))
        named = as_list(self.clues.value(name))
        items = self.resolved(schema.get("items", {}))
        if named and _type(items) == "string" and "enum" not in items:
            return [*filled, *map(str, named)][:highest]
        filled += self.listed(items, name)[: max(highest - len(filled), 0)] if depth < _DEEPEST else []
        wanted = lowest if depth >= _DEEPEST else max(lowest, 1)
        if schema.get("items") is not False:
            filled += [self.value(items, name, depth + 1) for _ in range(min(wanted, highest) - len(filled))]
        if schema.get("uniqueItems"):
            filled = list({repr(item): item for item in filled}.values())
        return filled

    def listed(self, items: Mapping[str, Any], name: str) -> list[Any]:
        """The members that the text lists for an array; none where it lists nothing that fits its items."""
        choices = as_list(items.get("enum"))
        if choices:
            return [choice for choice in choices if self.is_spoken({"enum": [choice]})]
        kind = _type(items)
        if kind in {"integer", "number"}:
            return [_bounded(number, items) for number in self.clues.numbers]
        found = listed(self.clues.text, name) if kind == "string" and not items.keys() & _NARROWING else []
        return found if len(found) > 1 else []

    def string(self, schema: Mapping[str, Any], name: str, depth: int) -> str | None:
        del depth
        form = str(schema.get("format"))
        if form in _FORMATS:
            spoken = _SPOKEN_FORMATS[form].search(self.clues.text) if form in _SPOKEN_FORMATS else None
            return spoken[0] if spoken else _FORMATS[form]
        named = self.clues.value(name)
        taken = named if named is not None else next(self.clues.strings, None)
        if taken is None:
            taken = _absent(schema, first_sentence(self.clues.text) or "nothing")
        if taken is None:
            return None
        text = str(taken)
        text = text.ljust(int(schema.get("minLength", 0)), ".")
        return text[: int(schema.get("maxLength", len(text)))]

    def number(self, schema: Mapping[str, Any], name: str, depth: int) -> float | None:
        del depth
        named = _number(self.clues.value(name))
        taken = named if named is not None else next(self.clues.numbers, None)
        if taken is None:
            taken = _absent(schema, 0)
        return None if taken is None else _bounded(float(taken), schema)

    def boolean(self, schema: Mapping[str, Any], name: str, depth: int) -> bool:
        del depth
        named = self.clues.value(name)
        if named is not None:
            return str(named).lower().split(" ", 1)[0] not in _NO_WORDS
        said = name.replace("_", " ").lower().removeprefix("is ").removeprefix("has ") in self.clues.text.lower()
        return said or bool(schema.get("default"))


def _absent(schema: Mapping[str, Any], otherwise: Any) -> Any:
    """The value where the text offers none: the default, else null, where that fits."""
    if schema.get("default") is not None:
        return schema["default"]
    return None if schema.get(_NULLABLE) or "null" in (as_list(schema.get("type")) or []) else otherwise


def _nothing(schema: Mapping[str, Any], name: str, depth: int) -> None:
    del schema, name, depth


def _type(schema: Mapping[str, Any]) -> str:
    given = schema.get("type")
    several = as_list(given)
    if several:
        given = next((kind for kind in several if kind != "null"), "null")
    if isinstance(given, str) and given in {"object", "array", "string", "integer", "number", "boolean", "null"}:
        return given
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _first_not_null(options: list[dict[str, Any]]) -> dict[str, Any]:
    return next((option for option in options if option.get("type") != "null"), options[0])


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**base, **more}
    for key in ("properties", "required"):
        ours, theirs = base.get(key), more.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            merged[key] = {**ours, **theirs}
        elif isinstance(ours, list) and isinstance(theirs, list):
            merged[key] = [*ours, *theirs]
    return merged


def _number(value: Any) -> float | None:
    if is_number(value):
        return float(value)
    try:
        number = float(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _bounded(value: float, schema: Mapping[str, Any]) -> float:
    """The nearest number that fits bounds, `multipleOf` and, for integers, wholeness."""
    whole = _type(schema) == "integer"
    step = float(schema.get("multipleOf") or (1 if whole else 0))
    nudge = step or 0.5
    low, high = (_number(schema.get(key)) for key in ("minimum", "maximum"))
    above, below = (_number(schema.get(key)) for key in ("exclusiveMinimum", "exclusiveMaximum"))
    if step:
        value = round(value / step) * step
    lows = [bound for bound in (low, None if above is None else above + nudge) if bound is not None]
    highs = [bound for bound in (high, None if below is None else below - nudge) if bound is not None]
    if lows and value < max(lows):
        value = math.ceil(max(lows) / step) * step if step else max(lows)
    if highs and value > min(highs):
        value = math.floor(min(highs) / step) * step if step else min(highs)
    return int(value) if whole or value == int(value) else value
