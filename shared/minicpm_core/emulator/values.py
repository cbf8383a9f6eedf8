"""Reading parsed JSON with types: each function gives the value if it has the type, else nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

Json: TypeAlias = Any
"""A parsed JSON value."""
Object: TypeAlias = "dict[str, Any]"

_TYPE_NAMES: tuple[tuple[Any, str], ...] = (
    (bool, "boolean"),  # before int, of which it is a kind
    (int | float, "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)


def as_object(value: Json) -> Object | None:
    """The value if it is a JSON object."""
    return cast("Object", value) if isinstance(value, dict) else None


def as_list(value: Json) -> list[Any] | None:
    """The value if it is a JSON array."""
    return value if isinstance(value, list) else None  # pyright: ignore[reportUnknownVariableType]


def is_number(value: Json) -> bool:
    """Whether the value is a JSON number (`true` is not one)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_integer(value: Json) -> bool:
    """Whether the value is a whole JSON number (`true` is not one)."""
    return isinstance(value, int) and not isinstance(value, bool)


def type_name(value: Json) -> str:
    """The JSON name of a value's type."""
    return next((name for kind, name in _TYPE_NAMES if isinstance(value, kind)), "null")


def filled(template: Json, facts: Mapping[str, Any]) -> Json:
    """A copy of a JSON value in which the names in braces were replaced.

    Args:
        template: Any JSON value. A text that is nothing but a name in braces becomes the fact itself, of its own type.
        facts: By their names.
    """
    members, items = as_object(template), as_list(template)
    if members is not None:
        return {key: filled(member, facts) for key, member in members.items()}
    if items is not None:
        return [filled(item, facts) for item in items]
    if not isinstance(template, str):
        return template
    name = template[1:-1]
    return facts[name] if name in facts and template == f"{{{name}}}" else template.format_map(facts)
