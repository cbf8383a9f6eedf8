"""JSON in answers: found whatever stands around it, never a part of a broken object, and held to its schema."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.backends import BACKENDS
from minicpm_core.errors import ConfigurationError, InvalidInputError, StructuredOutputError
from minicpm_core.structured import best_method, extract_json, repair_message, validate_json

JOKE = {"setup": "Why {so}?", "punchline": 'He said "[no]".'}
TEXT = json.dumps(JOKE)
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "answer",
    [
        TEXT,
        f"\ufeff \n{TEXT}\n\n\n   \t",
        f"{TEXT}\x00\x00",
        f"```json\n{TEXT}\n```",
        f"~~~\r\n{TEXT}\r\n~~~",
        f"Sure! Here it is:\n```json\n{TEXT}\n```\nAnything else?",
        f"Here: {TEXT} And [more] {{prose}}.",
        f"<think>Perhaps {{}}? Or {json.dumps([TEXT] * 3)}?</think>\n{TEXT}",
        f"Perhaps {{}}?</think>{TEXT}",
        f"The keys are {{setup, punchline}}; see [1]. {TEXT}",
        f"For example {{}}: {TEXT}",
        f"{TEXT}{TEXT}",
    ],
)
def test_the_document_is_found(answer: str) -> None:
    assert extract_json(answer) == TEXT


@pytest.mark.parametrize("scalar", ["42", '"yes"', "true", "null", "-1.5e3", "[1, 2]"])
def test_a_document_need_not_be_an_object(scalar: str) -> None:
    assert extract_json(f" {scalar}\n") == scalar
    assert extract_json(f"```\n{scalar}\n```") == scalar


def test_a_tag_within_the_document_ends_no_reasoning() -> None:
    text = json.dumps({"tag": "</think>", "more": {"a": 1}})
    assert extract_json(text) == text


def test_raw_line_ends_in_strings_are_escaped() -> None:
    assert json.loads(extract_json('So: {"text": "one\ntwo\tthree"}')) == {"text": "one\ntwo\tthree"}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("<think>I do not know.</think>", "empty"),
        ("No.", "no JSON"),
        ("{name: 'Ada'} [see below]", "no JSON"),
        ('{"a": 1,}', "broken"),
        ('{"a": NaN}', "broken"),
        ('{"a": oops, "b": {"c": 1}}', "broken"),
        ('{} {"a": oops}', "broken"),
        ('{"a": ' + "9" * 5000 + "}", "broken"),
        ("[" * 100_000 + "]" * 100_000, "broken"),
        ('{"a": {"b": 1}, "c', "breaks off"),
        ('{"a": 1,   \n\n\n\n', "breaks off"),
        ('For example {"a": 1}; the answer is {"a"', "breaks off"),
        ('{"a": "}', "breaks off"),
        ("{", "breaks off"),
        ("[" * 100_000, "breaks off"),
    ],
)
def test_what_holds_no_document_is_an_error_that_says_why(answer: str, problem: str) -> None:
    """In particular a part of a broken or unfinished object is not taken for the object."""
    with pytest.raises(StructuredOutputError) as caught:
        extract_json(answer)
    assert problem in caught.value.problem
    assert caught.value.problem in str(caught.value)
    assert caught.value.text == answer
    assert not caught.value.truncated


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(st.text(), values, max_size=4)
prose = st.text(st.characters(exclude_characters='[]{}"', codec="utf-8"), max_size=30).filter(
    lambda text: "</think>" not in text
)


@given(value=objects, before=prose, after=prose, indent=st.sampled_from([None, 2]))
def test_every_object_is_found_in_prose(value: dict[str, Any], before: str, after: str, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    assert json.loads(extract_json(f"{before}{text}{after}")) == value


@given(value=objects.filter(bool), data=st.data())
def test_an_object_that_was_cut_anywhere_is_an_error(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    with pytest.raises(StructuredOutputError, match="breaks off"):
        extract_json(cut)


@given(st.text(st.sampled_from('{}[]",:\\1a \n')))
def test_any_text_gives_json_or_the_typed_error(text: str) -> None:
    try:
        document = extract_json(text)
    except StructuredOutputError:
        return
    json.loads(document)


def test_a_value_that_fits_has_no_problem() -> None:
    assert validate_json({"name": "Ada", "age": 36}, PERSON) is None


def test_problems_are_told_with_their_places() -> None:
    schema = {"type": "object", "properties": {"people": {"type": "array", "items": PERSON}}}
    told = validate_json({"people": [{"name": "Ada", "age": -1}, {"name": 3}]}, schema)
    assert told is not None
    assert told.splitlines() == [
        "people[0].age: -1 is less than the minimum of 0",
        "people[1]: 'age' is a required property",
        "people[1].name: 3 is not of type 'string'",
    ]


def test_what_is_told_is_bounded() -> None:
    """It goes back to the model, whose context is not."""
    told = validate_json([["x" * 10_000]] * 100, {"type": "array", "items": {"type": "string"}})
    assert told is not None
    assert len(told.splitlines()) == 5
    assert len(told) < 5 * 400


def test_references_within_the_schema_are_followed() -> None:
    schema = {"$ref": "#/$defs/person", "$defs": {"person": PERSON}}
    assert validate_json({"name": "Ada", "age": 36}, schema) is None
    assert "required" in (validate_json({"name": "Ada"}, schema) or "")


@pytest.mark.parametrize("target", ["http://localhost:1/schema", "#/$defs/nobody"])
def test_a_reference_out_of_the_schema_is_an_error_and_nothing_is_fetched(target: str) -> None:
    with pytest.raises(InvalidInputError, match="refers"):
        validate_json({}, {"$ref": target})


@pytest.mark.parametrize("schema", [{"type": "telepathy"}, {"properties": 3}])
def test_a_schema_that_is_none_is_an_error(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="schema is none"):
        validate_json({}, schema)


def test_older_drafts_are_known_by_their_name() -> None:
    draft4 = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "minimum": 3,
        "exclusiveMinimum": True,
    }
    assert validate_json(3, draft4) is not None
    assert validate_json(4, draft4) is None


def test_without_jsonschema_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ConfigurationError, match="pip install jsonschema"):
        validate_json({}, {})


def test_the_repair_round_has_the_validators_words() -> None:
    assert "age: -1 is less" in repair_message("age: -1 is less than the minimum of 0")


def test_objects_are_asked_for_in_the_way_that_the_server_does_not_ignore() -> None:
    ways = {name: best_method(row) for name, row in BACKENDS.items()}
    assert ways.pop("transformers") == "prompt"
    assert set(ways.values()) == {"json_schema"}
