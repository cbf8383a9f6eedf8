"""What a request may ask for, checked before it is sent."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from minicpm_core.config import ChatOptions, as_timeouts, checked_headers
from minicpm_core.errors import InvalidInputError
from minicpm_core.protocol.declarations import declared

if TYPE_CHECKING:
    from minicpm_core.config import ClientConfig


@dataclass(frozen=True, slots=True)
class _Number:
    """The numbers that an option may be."""

    low: float
    high: float
    whole: bool = False

    def check(self, name: str, value: Any) -> None:
        kinds = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            what = "a whole number" if self.whole else "a number"
            raise InvalidInputError(f"{name} must be {what}, not {type(value).__name__}.")
        if not self.low <= value <= self.high:  # neither is NaN
            top = f" to {self.high:g}" if self.high < _MOST else " or more"
            raise InvalidInputError(f"{name} must be {self.low:g}{top}.")


_MOST = 2**63 - 1
"""What fits the 64 bits that servers have."""


_NUMBERS: dict[str, _Number] = {
    "temperature": _Number(0, sys.float_info.max),
    "top_p": _Number(0, 1),
    "max_tokens": _Number(1, _MOST, whole=True),
    "seed": _Number(-_MOST - 1, _MOST, whole=True),
    "presence_penalty": _Number(-2, 2),
    "frequency_penalty": _Number(-2, 2),
    "top_logprobs": _Number(0, _MOST, whole=True),
    "n": _Number(1, _MOST, whole=True),
}
_FLAGS = ("logprobs", "parallel_tool_calls", "thinking", "stream_usage")
_BODY_FIELDS = (
    "temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty", "logprobs",
    "top_logprobs", "n", "logit_bias", "user", "tools", "tool_choice", "parallel_tool_calls", "response_format",
)  # fmt: skip
_TEXTS = ("model", "user")
_MAPPINGS = ("logit_bias", "response_format", "extra_body")
OPTION_NAMES = frozenset(ChatOptions.__annotations__)


def combined(own: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, Any]:
    """A call's options over those of the object that is called; the fields of its `extra_body` are added.

    Args:
        own: The object's.
        call: The call's. A `None` wins too.
    """
    options = {**own, **call}
    body, added = own.get("extra_body"), call.get("extra_body")
    if isinstance(body, Mapping) and isinstance(added, Mapping):
        options["extra_body"] = {**body, **added}
    return options


def merged_options(config: ClientConfig, options: ChatOptions | None) -> dict[str, Any]:
    """The options of a call over those of its client, checked; what is `None` is left out.

    Raises:
        InvalidInputError: An option is unknown, or its value cannot be.
    """
    merged = {name: value for name, value in combined(config.options, options or {}).items() if value is not None}
    for name, value in merged.items():
        _check(name, value)
    if "extra_headers" in merged:
        merged["extra_headers"] = checked_headers(merged["extra_headers"])
    if "timeout" in merged:
        merged["timeout"] = as_timeouts(merged["timeout"])
    return merged


def _check(name: str, value: Any) -> None:
    if name not in OPTION_NAMES:
        raise unknown_option(name)
    if name in _NUMBERS:
        _NUMBERS[name].check(name, value)
    if name in _FLAGS and not isinstance(value, bool):
        raise InvalidInputError(f"{name} must be True or False, not {value!r}.")
    if name in _TEXTS and not isinstance(value, str):
        raise InvalidInputError(f"{name} must be a string, not {type(value).__name__}.")
    if name in _MAPPINGS:
        _check_mapping(name, value)


def _check_mapping(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{name} must be a mapping, not {type(value).__name__}.")
    if name == "extra_body" and not all(isinstance(key, str) for key in cast("Mapping[object, Any]", value)):
        raise InvalidInputError("extra_body holds a key that is not a string.")


def unknown_option(name: str) -> InvalidInputError:
    """The error for an option that does not exist, with the nearest that does."""
    near = get_close_matches(name, OPTION_NAMES, n=1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    return InvalidInputError(
        f"Unknown option {name!r}.{meant} Fields that only some servers know go into extra_body={{{name!r}: …}}."
    )


def body_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are fields of the request body, in the form in which they are sent."""
    fields = {name: options[name] for name in _BODY_FIELDS if name in options}
    if "stop" in fields:
        fields["stop"] = _stop(fields["stop"])
    for name in ("tools", "stop", "logit_bias"):
        if name in fields and fields[name] in ([], (), {}):
            del fields[name]  # an empty list is refused by strict servers and means the same as none
    if "tools" in fields:
        fields["tools"] = _tools(fields["tools"])
    else:
        fields.pop("tool_choice", None)
        fields.pop("parallel_tool_calls", None)
    if "top_logprobs" in fields:
        fields.setdefault("logprobs", True)
    return fields


def _stop(stop: Any) -> list[str]:
    words = [stop] if isinstance(stop, str) else _list_of(stop)
    if words is None or not all(isinstance(word, str) and word for word in words):
        raise InvalidInputError("stop must be a string or a list of strings, none of them empty.")
    return words


def _tools(tools: Any) -> list[Any]:
    rows = _list_of(tools)
    if rows is None or not all(isinstance(row, Mapping) for row in rows):
        raise InvalidInputError("tools must be a list of mappings, as in the Chat Completions API.")
    return declared(rows)


def _list_of(value: Any) -> list[Any] | None:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return None
    return list(cast("Iterable[Any]", value))
