"""Declarations of tools are checked, and their schemas sent in a form that every server takes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import BaseModel, Field

from minicpm_core.errors import InvalidInputError
from minicpm_core.protocol.declarations import declared
from minicpm_core.protocol.schemas import plain_schema
from tests.core.support import body_of

_INTEGER: dict[str, Any] = {"type": "integer"}
_NULL: dict[str, Any] = {"type": "null"}


def _tool(name: Any = "f", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


class _Place(BaseModel):
    """Somewhere."""

    title: str
    size: int | None = None


class _Trip(BaseModel):
    start: _Place
    stops: list[_Place] = Field(default=[], description="On the way.")


class _Node(BaseModel):
    value: int | None = None
    children: list[_Node] = []


def test_a_schema_of_pydantic_becomes_plain() -> None:
    place = {
        "type": "object",
        "description": "Somewhere.",
        "properties": {"title": {"type": "string"}, "size": {"type": ["integer", "null"], "default": None}},
        "required": ["title"],
    }
    assert plain_schema(_Trip.model_json_schema()) == {
        "type": "object",
        "properties": {
            "start": place,
            "stops": {"type": "array", "items": place, "default": [], "description": "On the way."},
        },
        "required": ["start"],
    }


def test_a_schema_that_refers_to_itself_keeps_its_references() -> None:
    """Without titles and unions all the same."""
    node: dict[str, Any] = {
        "type": "object",
        "properties": {
            "value": {"type": ["integer", "null"], "default": None},
            "children": {"type": "array", "items": {"$ref": "#/$defs/_Node"}, "default": []},
        },
    }
    assert plain_schema(_Node.model_json_schema()) == {"$defs": {"_Node": node}, "$ref": "#/$defs/_Node"}


def test_a_schema_that_would_grow_without_end_keeps_its_references() -> None:
    definitions = {
        f"d{n}": _object(a={"$ref": f"#/$defs/d{n + 1}"}, b={"$ref": f"#/$defs/d{n + 1}"}) for n in range(40)
    }
    schema = {**_object(a={"$ref": "#/$defs/d0"}), "$defs": {**definitions, "d40": _INTEGER}}
    assert plain_schema(schema) == schema


@pytest.mark.parametrize(
    ("schema", "plain"),
    [
        ({"anyOf": [_INTEGER, _NULL], "title": "A"}, {"type": ["integer", "null"]}),
        ({"anyOf": [_NULL, {**_INTEGER, "minimum": 1}]}, {"type": ["integer", "null"], "minimum": 1}),
        ({"anyOf": [{"type": "string", "enum": ["a"]}, _NULL]}, None),
        ({"anyOf": [{"type": "string", "default": "a"}, _NULL], "default": None}, None),
        ({"anyOf": [_INTEGER, {"type": "string"}]}, None),
        ({"anyOf": [_INTEGER, {"type": "string"}, _NULL]}, None),
        ({"enum": ["x", None], "default": {"title": "kept"}}, None),
        ({"type": "object", "additionalProperties": False, "items": True}, None),
        (_object(title={"type": "string", "title": "Title"}), _object(title={"type": "string"})),
    ],
)
def test_what_a_schema_allows_stays_the_same(schema: dict[str, Any], plain: dict[str, Any] | None) -> None:
    assert plain_schema(schema) == (schema if plain is None else plain)


@pytest.mark.parametrize("reference", ["#/$defs/b", "other.json#/a", "#/$defs/a/b"])
def test_a_reference_to_nothing_is_refused_by_name(reference: str) -> None:
    with pytest.raises(InvalidInputError, match=r"refers to '.*', which is not in it"):
        plain_schema({**_object(a={"$ref": reference}), "$defs": {"a": _INTEGER}})


def test_a_schema_without_end_is_refused() -> None:
    endless: dict[str, Any] = {"type": "array"}
    endless["items"] = endless
    with pytest.raises(InvalidInputError, match="nested too deeply"):
        declared([_tool(parameters=endless)])


def test_declarations_are_not_changed_in_place() -> None:
    tool = _tool(parameters=_Trip.model_json_schema(), strict=True, description="D")
    kept = copy.deepcopy(tool)
    sent = body_of(tools=[tool])["tools"]
    assert tool == kept
    assert sent[0]["function"]["strict"] is True
    assert "$defs" not in sent[0]["function"]["parameters"]
    assert {**sent[0]["function"], "parameters": None} == {**kept["function"], "parameters": None}


@pytest.mark.parametrize("name", ["", "a b", "a.b", "é", "x" * 65, None, 5, "a\n"])
def test_a_name_that_servers_refuse_is_refused(name: Any) -> None:
    with pytest.raises(InvalidInputError, match="names are 1 to 64"):
        body_of(tools=[_tool(name)])
    assert declared([_tool("a-B_9"), _tool("x" * 64)])


def test_two_tools_of_one_name_are_refused() -> None:
    """Servers differ in which of them they call, and the frameworks in which of them they run."""
    with pytest.raises(InvalidInputError, match="Two tools are named 'f'"):
        body_of(tools=[_tool(), _tool("g"), _tool(description="Another.")])


@pytest.mark.parametrize(
    ("tool", "said"),
    [({"type": "function"}, "A tool must be"), (_tool(parameters=[1]), "must be a JSON schema of an object")],
)
def test_what_is_no_declaration_is_refused(tool: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        body_of(tools=[tool])


def test_a_tool_of_the_servers_own_is_passed_on() -> None:
    own = {"type": "web_search", "name": "any thing"}
    assert body_of(tools=[own])["tools"] == [own]
    assert body_of(tools=[{"function": {"name": "f"}}])["tools"] == [_tool()]
