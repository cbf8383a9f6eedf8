"""Values that a model wrote as text, read as the type that the tool's JSON schema gives them.

A value that is of none of its types stays the text that it is: whoever validates the arguments will say so.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from minicpm_core.protocol.fields import list_of, object_of
from minicpm_core.protocol.schemas import target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WORDS: dict[str, dict[str, Any]] = {
    "boolean": {"true": True, "True": True, "false": False, "False": False},
    "null": {"null": None, "None": None},
}
_DEEPEST = 16
"""References and unions within each other that are followed."""
_NOTHING = object()


def typed(text: str, schema: Any, root: Mapping[str, Any]) -> Any:
    """The value of a parameter.

    Strings are taken as they are; of a union with strings, the other types are tried first.  Where the schema names no
    type, JSON is read as JSON and anything else is a string.

    Args:
        text: As the model wrote it.
        schema: The parameter's JSON schema; `None` where the tool declares no such parameter.
        root: The schema of all the tool's parameters, where `$ref` points into.
    """
    types = _types(schema, root, 0)
    if not types:
        return json_value(text.strip(), otherwise=text)
    for kind, read in _READERS.items():
        if kind in types:
            value = read(text.strip())
            if value is not _NOTHING:
                return value
    return text


def json_value(text: str, *, otherwise: Any) -> Any:
    """The value of a JSON text; `otherwise` where it is none, or one that could not be written again."""
    try:
        value = json.loads(text, parse_constant=_refused)
        json.dumps(value, allow_nan=False)  # `1e999` is read as infinity, which JSON has no word for
    except (ValueError, RecursionError):
        return otherwise
    return value


def _refused(name: str) -> None:
    raise ValueError(name)


def _types(schema: Any, root: Mapping[str, Any], depth: int) -> frozenset[str]:
    """The JSON types that a schema takes; none where it does not say."""
    known = object_of(schema)
    if depth > _DEEPEST or not known:
        return frozenset()
    stated = known.get("type")
    if isinstance(stated, str):
        return frozenset({stated})
    if isinstance(stated, list):
        return frozenset(map(str, list_of(stated)))
    if "$ref" in known:
        return _types(target_of(str(known["$ref"]), root), root, depth + 1)
    values = known["enum"] if "enum" in known else [known["const"]] if "const" in known else None
    if values is not None:
        return frozenset(_type_of(value) for value in list_of(values))
    branches: list[frozenset[str]] = [
        _types(branch, root, depth + 1) for name in ("anyOf", "oneOf", "allOf") for branch in list_of(known.get(name))
    ]
    return frozenset[str]().union(*branches) if all(branches) else frozenset()


def _type_of(value: Any) -> str:
    names: tuple[tuple[Any, str], ...] = (
        (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (type(None), "null"),
    )  # fmt: skip
    return next((name for kind, name in names if isinstance(value, kind)), "object")


def _word(kind: str) -> Callable[[str], Any]:
    return lambda text: _WORDS[kind].get(text, _NOTHING)


def _of(*kinds: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json_value(text, otherwise=_NOTHING)
        return value if isinstance(value, kinds) and not isinstance(value, bool) else _NOTHING

    return read


def _integer(text: str) -> Any:
    value = _of(int, float)(text)
    if isinstance(value, float):
        return int(value) if value.is_integer() else _NOTHING
    return value


_READERS: dict[str, Callable[[str], Any]] = {
    "null": _word("null"),
    "boolean": _word("boolean"),
    "integer": _integer,
    "number": _of(int, float),
    "array": _of(list),
    "object": _of(dict),
}
"""In the order in which they are tried."""
