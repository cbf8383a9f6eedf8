"""A caption is read from what models write, goes through JSON, and becomes one text."""

from __future__ import annotations

import json

import pytest

from minicpm_core.captions import CAPTION_SCHEMA, Caption
from minicpm_core.errors import InvalidInputError, StructuredOutputError
from minicpm_core.structured import validate_json

FULL = Caption(
    summary="A bar chart.", visible_text="Sales 2024", tables=("| a | b |\n|---|---|\n| 1 | 2 |",), entities=("ACME",)
)


def test_a_caption_survives_json() -> None:
    for caption in (FULL, Caption(text="A cat."), Caption()):
        assert Caption.from_dict(json.loads(json.dumps(caption.to_dict()))) == caption


def test_the_text_holds_all_of_it() -> None:
    text = FULL.to_text()
    assert text.startswith("A bar chart.")
    for part in ("Sales 2024", "| 1 | 2 |", "ACME"):
        assert part in text
    assert Caption(text="A cat.").to_text() == "A cat."


@pytest.mark.parametrize("fields", [{"title": "x"}, {"text": 3}, {"tables": "one"}, {"entities": [1]}])
def test_fields_of_another_kind_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        Caption.from_dict(fields)


def test_an_answer_with_prose_around_it_is_read() -> None:
    fields = {name: value for name, value in FULL.to_dict().items() if name != "text"}
    assert validate_json(fields, CAPTION_SCHEMA) is None
    assert Caption.from_answer(f"Here it is:\n```json\n{json.dumps(fields)}\n```") == FULL


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("A cat.", "no JSON"),
        ("[1]", "object"),
        ('{"summary": "x"}', "visible_text is missing"),
        ('{"summary": "x", "visible_text": "", "tables": "none", "entities": []}', "tables is not a list of strings"),
    ],
)
def test_an_answer_that_lacks_a_field_says_which(answer: str, problem: str) -> None:
    with pytest.raises(StructuredOutputError) as caught:
        Caption.from_answer(answer)
    assert problem in caught.value.problem
    assert caught.value.text == answer
