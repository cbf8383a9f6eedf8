"""What a model wrote as text is read as the type that the tool's schema gives it."""

from __future__ import annotations

from typing import Any

import pytest

from minicpm_core.protocol.typed import typed

_NULLABLE = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
_ROOT: dict[str, Any] = {
    "$defs": {"Size": {"enum": [1, 2.5]}, "Loop": {"$ref": "#/$defs/Loop"}, "a/b": {"type": "boolean"}}
}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "5", "5"),
        ({"type": "string"}, " a\n", " a\n"),
        ({"type": "string"}, "null", "null"),
        ({"type": "integer"}, "5", 5),
        ({"type": "integer"}, " 5\n", 5),
        ({"type": "integer"}, "5.0", 5),
        ({"type": "integer"}, "5.5", "5.5"),
        ({"type": "integer"}, "five", "five"),
        ({"type": "integer"}, "true", "true"),
        ({"type": "integer"}, "9" * 5000, "9" * 5000),
        ({"type": "number"}, "5", 5),
        ({"type": "number"}, "-5.5e1", -55.0),
        ({"type": "number"}, "1e999", "1e999"),
        ({"type": "number"}, "NaN", "NaN"),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "False", False),
        ({"type": "boolean"}, "yes", "yes"),
        ({"type": "null"}, "null", None),
        ({"type": "array"}, '["a", 1]', ["a", 1]),
        ({"type": "array"}, "a, b", "a, b"),
        ({"type": "object"}, '{"a": {"b": null}}', {"a": {"b": None}}),
        ({"type": "object"}, "[" * 100_000, "[" * 100_000),
        ({"type": ["string", "null"]}, "null", None),
        ({"type": ["string", "null"]}, "nothing", "nothing"),
        ({"type": ["string", "integer"]}, "5", 5),
        ({"type": ["string", "integer"]}, "05", "05"),
        (_NULLABLE, "None", None),
        (_NULLABLE, "7", 7),
        ({"oneOf": [{"type": "array"}, _NULLABLE]}, "[7]", [7]),
        ({"enum": ["1", "2"]}, "1", "1"),
        ({"enum": [1, 2]}, "1", 1),
        ({"const": True}, "true", True),
        ({"$ref": "#/$defs/Size"}, "2.5", 2.5),
        ({"$ref": "#/$defs/a~1b"}, "true", True),
        ({"$ref": "#/$defs/Loop"}, "word", "word"),
        ({"$ref": "other.json#/a"}, "1", 1),
        ({"anyOf": [{"type": "string"}, {}]}, "1", 1),
        ({}, "1", 1),
        ({}, "a word", "a word"),
        (None, '{"a": 1}', {"a": 1}),
        (None, " a word ", " a word "),
    ],
)
def test_a_value_is_of_its_type_or_the_text_that_it_was(schema: Any, text: str, value: Any) -> None:
    found = typed(text, schema, _ROOT)
    assert found == value
    assert type(found) is type(value)
