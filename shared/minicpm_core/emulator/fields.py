"""The fields of a request: their types and ranges, as data, and the check of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from minicpm_core.emulator.refusals import Refusal
from minicpm_core.emulator.values import as_list, as_object, is_integer, is_number, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.emulator.dialects import Check, Dialect
    from minicpm_core.emulator.values import Json, Object

FieldType: TypeAlias = Literal["array", "boolean", "choice", "integer", "number", "object", "stop", "string"]


def _is_stop(value: Json) -> bool:
    items = as_list(value)
    return isinstance(value, str) or (items is not None and all(isinstance(item, str) for item in items))


_TYPES: dict[FieldType, tuple[Callable[[Json], bool], str, str]] = {
    "array": (lambda value: isinstance(value, list), "list_type", "Input should be a valid list"),
    "boolean": (lambda value: isinstance(value, bool), "bool_type", "Input should be a valid boolean"),
    "choice": (lambda value: isinstance(value, str | dict), "string_type", "Input should be a valid string"),
    "integer": (is_integer, "int_type", "Input should be a valid integer"),
    "number": (is_number, "float_type", "Input should be a valid number"),
    "object": (lambda value: isinstance(value, dict), "dict_type", "Input should be a valid dictionary"),
    "stop": (_is_stop, "string_type", "Input should be a valid string or a list of strings"),
    "string": (lambda value: isinstance(value, str), "string_type", "Input should be a valid string"),
}
"""Check, the name of the error, its words."""

_FIELDS: dict[str, FieldType] = {
    "chat_template_kwargs": "object",
    "frequency_penalty": "number",
    "logit_bias": "object",
    "logprobs": "boolean",
    "max_completion_tokens": "integer",
    "max_tokens": "integer",
    "messages": "array",
    "min_p": "number",
    "model": "string",
    "n": "integer",
    "parallel_tool_calls": "boolean",
    "presence_penalty": "number",
    "reasoning_effort": "string",
    "repetition_penalty": "number",
    "response_format": "object",
    "seed": "integer",
    "stop": "stop",
    "stream": "boolean",
    "stream_options": "object",
    "temperature": "number",
    "tool_choice": "choice",
    "tools": "array",
    "top_k": "integer",
    "top_logprobs": "integer",
    "top_p": "number",
    "user": "string",
}


@dataclass(frozen=True, slots=True)
class _Range:
    """What a number may be, and how that is said."""

    holds: Callable[[float], bool]
    said: str
    check: Check = "range"


_RANGES: dict[str, _Range] = {
    "frequency_penalty": _Range(lambda value: -2 <= value <= 2, "in [-2, 2]"),  # noqa: PLR2004
    "max_completion_tokens": _Range(lambda value: value >= 1, "at least 1", "least_max_tokens"),
    "max_tokens": _Range(lambda value: value >= 1, "at least 1", "least_max_tokens"),
    "n": _Range(lambda value: value >= 1, "at least 1"),
    "presence_penalty": _Range(lambda value: -2 <= value <= 2, "in [-2, 2]"),  # noqa: PLR2004
    "seed": _Range(lambda value: -(2**63) <= value < 2**63, "a 64-bit integer"),
    "temperature": _Range(lambda value: 0 <= value <= 2, "in [0, 2]"),  # noqa: PLR2004
    "top_logprobs": _Range(lambda value: 0 <= value <= 20, "in [0, 20]"),  # noqa: PLR2004
    "top_p": _Range(lambda value: 0 < value <= 1, "in (0, 1]"),
}


def wrong_type(param: str, value: Json, wanted: FieldType) -> Refusal:
    """The refusal of a value of the wrong type.

    Args:
        param: The field's path, such as `messages.0.role`.
        value: What stands there.
        wanted: What should.
    """
    _, code, said = _TYPES[wanted]
    given = f"<dict of {len(value)} items>" if as_object(value) is not None else str(value)[:60]
    return Refusal("wrong_type", said, param=param, code=code, given=given, wanted=wanted, given_type=type_name(value))


def missing(param: str) -> Refusal:
    """The refusal of a request without a field."""
    return Refusal("missing_field", "Field required", param=param, code="missing", given="None")


def bad_value(param: str, value: Json, said: str) -> Refusal:
    """The refusal of a value that cannot be."""
    return Refusal("bad_value", f"{said} (parameter={param}, value={value})", param=param)


def check_fields(document: Object, dialect: Dialect) -> Object:
    """The fields of a request that are set and heeded, each of its type and in its range.

    Args:
        document: The request. A field that is null is taken as not set, as servers do.
        dialect: Decides what is heeded and checked.

    Raises:
        Refusal: A field is unknown to a server that says so, of the wrong type or out of range.
    """
    known = dialect.backend.fields
    if known is not None:
        unknown = sorted(document.keys() - known - {"messages", "model", "stream", "stream_options"})
        if unknown:
            raise Refusal("unknown_field", names=", ".join(repr(name) for name in unknown))
    heeded: dict[str, Any] = {
        name: value for name, value in document.items() if value is not None and name not in dialect.ignores
    }
    for name, value in heeded.items():
        wanted = _FIELDS.get(name)
        if wanted is not None and not _TYPES[wanted][0](value):
            raise wrong_type(name, value, wanted)
        span = _RANGES.get(name)
        if span is not None and not span.holds(value) and span.check not in dialect.lets_pass:
            raise bad_value(name, value, f"{name} must be {span.said}, got {value}.")
    return heeded
