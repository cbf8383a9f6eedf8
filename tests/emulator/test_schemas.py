"""Forms are filled in so that they fit their JSON schema."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from minicpm_core.emulator.clues import clues_in
from minicpm_core.emulator.schema import fill

if TYPE_CHECKING:
    from tests.emulator.support import Asker


class Colour(enum.Enum):
    """A closed choice."""

    RED = "red"
    GREEN = "green"


class Leaf(BaseModel):
    """Something nested."""

    name: str
    size: Annotated[int, Field(ge=3, le=9)]
    share: Annotated[float, Field(gt=0, lt=1)]


class Tree(BaseModel):
    """Something that holds itself."""

    label: str
    children: list[Tree] = []
    parent: Tree | None = None


class Everything(BaseModel):
    """Most of what pydantic writes into a schema."""

    text: str
    long: Annotated[str, Field(min_length=300, max_length=310)]
    short: Annotated[str, Field(max_length=2)]
    whole: int
    even: Annotated[int, Field(multiple_of=4, ge=5)]
    number: float
    yes: bool
    nothing: None
    colour: Colour
    kind: Literal["a", "b"]
    fixed: Literal[7]
    maybe: Optional[int]  # noqa: UP045 - the spelling that writes anyOf
    either: int | str
    leaf: Leaf
    leaves: Annotated[list[Leaf], Field(min_length=2, max_length=3)]
    pair: tuple[int, str]
    words: set[str]
    free: dict[str, Any]
    anything: Any
    tree: Tree
    day: dt.date
    moment: dt.datetime
    id: uuid.UUID
    late: int = 5


TEXTS = ["", "Tell me about cats.", "a 1, b 2.5, c -3; size: 100", 'He said "yes" to Ada in Paris.', "一只猫，两只狗"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("optional", [True, False])
def test_what_pydantic_asks_for_it_takes_back(text: str, *, optional: bool) -> None:
    filled = fill(Everything.model_json_schema(), clues_in(text), optional=optional)
    Everything.model_validate_json(json.dumps(filled))


@pytest.mark.parametrize("kind", [list[int], dict[str, int], int | None, tuple[int, ...], Colour, Tree, list[Tree]])
def test_a_schema_need_not_be_an_object(kind: Any) -> None:
    adapter = TypeAdapter[Any](kind)
    adapter.validate_json(json.dumps(fill(adapter.json_schema(), clues_in("3 cats"))))


@given(st.text(), st.integers(-50, 50), st.integers(0, 20), st.booleans())
def test_numbers_stay_in_their_bounds(text: str, low: int, width: int, whole: bool) -> None:
    kind = "integer" if whole else "number"
    schema = {"type": kind, "minimum": low, "maximum": low + width}
    value = fill(schema, clues_in(text))
    assert low <= value <= low + width
    assert isinstance(value, int) or not whole


def test_values_come_from_the_text() -> None:
    schema = {
        "type": "object",
        "properties": {
            "customer_name": {"type": "string"},
            "city": {"type": "string"},
            "age": {"type": "integer"},
            "weight": {"type": "number"},
            "colour": {"enum": ["green", "red"]},
            "isMember": {"type": "boolean"},
        },
    }
    text = "Register a customer named 'Ada Byron', age: 36, weight = 55.5, likes red, city: London; is member: no"
    assert fill(schema, clues_in(text)) == {
        "customer_name": "Ada Byron",
        "city": "London",
        "age": 36,
        "weight": 55.5,
        "colour": "red",
        "isMember": False,
    }


def test_schemas_are_put_together_from_their_parts() -> None:
    schema = {
        "$defs": {"named": {"properties": {"name": {"type": "string"}}, "required": ["name"]}},
        "allOf": [{"$ref": "#/$defs/named"}, {"properties": {"size": {"type": "integer"}}, "required": ["size"]}],
    }
    assert fill(schema, clues_in("a leaf named 'Oak', size: 4"), optional=False) == {"name": "Oak", "size": 4}


def test_a_schema_without_a_type_is_read_by_its_keys() -> None:
    assert fill({"properties": {"a": {"items": {"const": 1}}}}, clues_in("x")) == {"a": [1]}


def test_what_the_text_does_not_name_is_taken_in_order() -> None:
    schema = {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}, "where": {"type": "string"}}}
    assert fill(schema, clues_in("Add 3 and 4 for Paris.")) == {"a": 3, "b": 4, "where": "Paris"}


def test_a_default_stands_where_the_text_says_nothing() -> None:
    schema = {
        "properties": {"days": {"type": "integer", "default": 3}, "unit": {"type": "string"}},
        "required": ["unit"],
    }
    assert fill(schema, clues_in("weather in Rome"))["days"] == 3
    assert fill(schema, clues_in("weather in Rome, days: 5"))["days"] == 5
    assert "days" not in fill(schema, clues_in("weather in Rome"), optional=False)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"anyOf": [{"$ref": "#/nowhere"}]},
        {"type": ["null", "string"]},
        {"type": "array", "items": False},
    ],
)
def test_a_strange_schema_comes_to_an_end(asker: Asker, schema: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    json.loads(asker.text("x", response_format=form))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "minItems": "many", "items": {}},
        {"type": "integer", "multipleOf": [2]},
        {"type": "string", "maxLength": {}},
    ],
)
def test_a_schema_that_nothing_fits_is_refused(asker: Asker, schema: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = asker.post("x", response_format=form)
    assert answer.status_code == 400
    assert "The JSON schema cannot be followed" in answer.json()["error"]["message"]


def test_a_json_schema_is_answered_in_its_form_streamed_and_not(asker: Asker) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": Leaf.model_json_schema()}}
    said = asker.text("A leaf named 'Oak', size: 4.", response_format=form)
    assert Leaf.model_validate_json(said).name == "Oak"
    assert asker.stream("A leaf named 'Oak', size: 4.", response_format=form).joined("content") == said


def test_json_mode_gives_the_keys_that_the_text_names(asker: Asker) -> None:
    said = asker.text("Make a JSON with 'setup' and 'punchline' keys.", response_format={"type": "json_object"})
    assert list(json.loads(said)) == ["setup", "punchline"]


def test_json_mode_without_names_is_still_an_object(asker: Asker) -> None:
    said = asker.text("Tell me about cats.", response_format={"type": "json_object"})
    assert json.loads(said) == {"answer": "Tell me about cats."}


def test_text_is_asked_for_like_no_format_at_all(asker: Asker) -> None:
    assert asker.text("Count to 2.", response_format={"type": "text"}) == "1 2"
