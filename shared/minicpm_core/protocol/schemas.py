"""JSON schemas in the plain form that every server takes: no references, no titles, no unions for the sake of null.

What a schema allows stays the same.  One that refers to itself cannot be written out, so that its references stay; the
servers with grammars (vLLM, SGLang, llama-server) take those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicpm_core.errors import InvalidInputError
from minicpm_core.protocol.fields import list_of, object_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"})
_ONE = frozenset({"items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else"})
_SEVERAL = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_DEFINITIONS = ("$defs", "definitions")
_LARGEST = 20_000
"""Objects of a schema that is written out: one that refers twice to what refers twice … grows without end."""
_DEEPEST = 100
_NULL = {"type": "null"}
_OF_VALUES = frozenset({"enum", "const", "anyOf", "oneOf", "allOf", "$ref", "not"})


class _StaysReferredError(Exception):
    """The references of this schema cannot be written out."""


class _Writer:
    """Writes one schema; the given one is not changed."""

    def __init__(self, root: Mapping[str, Any], *, refers: bool) -> None:
        self._root = root
        self._refers = refers  # keep references
        self._size = 0

    def schema(self, given: Any, depth: int, within: tuple[str, ...]) -> Any:
        """A schema in its plain form; what is none (`true`) as it is."""
        if not isinstance(given, dict):
            return given
        self._size += 1
        if depth > _DEEPEST:
            raise InvalidInputError("A tool's schema is nested too deeply, or refers to itself as an object.")
        known = object_of(given)
        reference = known.get("$ref")
        if isinstance(reference, str) and not self._refers:
            return self._referred(reference, known, depth, within)
        plain = {
            name: self._value(name, value, depth + 1, within) for name, value in known.items() if _stays(name, value)
        }
        if not depth and not self._refers:
            for name in _DEFINITIONS:
                plain.pop(name, None)
        return _without_null_union(plain)

    def _referred(self, reference: str, known: dict[str, Any], depth: int, within: tuple[str, ...]) -> Any:
        if reference in within or self._size > _LARGEST:
            raise _StaysReferredError
        target = target_of(reference, self._root)
        if target is None:
            raise InvalidInputError(f"A tool's schema refers to {reference!r}, which is not in it.")
        beside = {name: value for name, value in known.items() if name != "$ref"}
        whole = {**object_of(target), **beside} if isinstance(target, dict) else target
        return self.schema(whole, depth + 1, (*within, reference))

    def _value(self, name: str, value: Any, depth: int, within: tuple[str, ...]) -> Any:
        if name in _NAMED or (name in _DEFINITIONS and self._refers):
            return {key: self.schema(each, depth, within) for key, each in object_of(value).items()}
        if name in _ONE:
            return self.schema(value, depth, within)
        if name in _SEVERAL:
            return [self.schema(each, depth, within) for each in list_of(value)]
        return value


def plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema with references written out, and without titles and unions with null that a list of types can tell.

    Raises:
        InvalidInputError: A reference points nowhere, or the schema is nested without end.
    """
    given = dict(schema)
    try:
        return object_of(_Writer(given, refers=False).schema(given, 0, ()))
    except _StaysReferredError:
        return object_of(_Writer(given, refers=True).schema(given, 0, ()))


def target_of(reference: str, root: Mapping[str, Any]) -> Any:
    """What a reference into the same schema points to; `None` if there is nothing."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    target: Any = root
    for step in reference[2:].split("/") if reference != "#" else ():
        target = object_of(target).get(step.replace("~1", "/").replace("~0", "~"))
    return target


def _stays(name: str, value: Any) -> bool:
    return name != "title" or not isinstance(value, str)


def _without_null_union(schema: dict[str, Any]) -> dict[str, Any]:
    """`anyOf` of one type and null as the list of both."""
    branches = list_of(schema.get("anyOf"))
    others = [object_of(branch) for branch in branches if branch != _NULL]
    if len(branches) != 2 or len(others) != 1:  # noqa: PLR2004 - a type and null
        return schema
    (other,) = others
    beside = {name: value for name, value in schema.items() if name != "anyOf"}
    kind = other.get("type")
    if not isinstance(kind, str) or _OF_VALUES & {*other, *beside} or ({*other} & {*beside}) - {"description"}:
        return schema
    return {**other, **beside, "type": [kind, "null"]}
