"""The inside of a `<tool_call>` block: the tool's name and its arguments as JSON text.

Nothing is guessed: what cannot be read is kept as it was received, as the arguments, so that whoever reads them sees
that they are no JSON.
"""

from __future__ import annotations

import json
import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

from minicpm_core.protocol.fields import object_of, text_of
from minicpm_core.protocol.typed import json_value, typed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FUNCTION = "<function="
_END = "</function>"
_HEAD = re.compile(r"<function=([^>\n]*)>")
_NEXT = re.compile(r"(?<=</function>)\s*(?=<function=)")
_PARAMETER = re.compile(
    r"<parameter=([^>\n]*)>(.*?)"
    r"(?:</parameter>(?=\s*(?:<parameter=|</function>|\Z))|(?=\n[ \t]*<parameter=)|(?=\n?</function>\s*\Z)|\Z)",
    re.DOTALL,
)
_NAME = re.compile(r'"name"\s*:\s*"([^"\\]*)"')
_ARGUMENTS = re.compile(r'"(?:arguments|parameters)"\s*:\s*')
_decoder = json.JSONDecoder()


class TextCall(NamedTuple):
    """A call that came as text.

    Attributes:
        name: The tool's name; empty where the call broke off before it.
        arguments: JSON text, or what was received where that cannot be read.
    """

    name: str
    arguments: str


class Kind(Enum):
    """How a call is written."""

    XML = auto()
    JSON = auto()
    NONE = auto()


def kind_of(body: str) -> Kind | None:
    """How a call is written whose block begins so; `None` where that is not to be seen yet."""
    head = body.lstrip()[: len(_FUNCTION)]
    if head.startswith("{"):
        return Kind.JSON
    if head == _FUNCTION:
        return Kind.XML
    return None if _FUNCTION.startswith(head) else Kind.NONE


def ends_call(head: str, kind: Kind | None, *, begins_another: bool) -> bool:
    """Whether a tag after this much of a block ends it, rather than being part of an argument.

    Args:
        head: The block up to the tag.
        kind: How the call is written.
        begins_another: The tag is the opening one of the next call.
    """
    if kind is Kind.JSON:
        return not _in_string(head)
    before = head.rstrip()
    if before.endswith(_END):
        return True
    return not begins_another and (before.endswith("</parameter>") or "<parameter=" not in before)


def read_calls(body: str, tools: Mapping[str, Mapping[str, Any]], *, closed: bool) -> list[TextCall]:
    """The calls in a block: one, but for models that put several functions into it.

    Args:
        body: What stands between the tags, or came before the answer ended.
        tools: The JSON schema of the parameters of each declared tool, by its name.
        closed: The closing tag was there.
    """
    kind = kind_of(body)
    if kind is Kind.JSON:
        return [_from_json(body.strip())]
    if kind is Kind.XML:
        return [_from_xml(part, tools, closed=closed) for part in _NEXT.split(body.strip())]
    return [TextCall("", body.strip())]


def _in_string(text: str) -> bool:
    """Whether JSON that breaks off here does so inside a string."""
    inside = False
    for mark in re.finditer(r'\\.|"', text, re.DOTALL):
        inside ^= mark.group() == '"'
    return inside


def _from_json(body: str) -> TextCall:
    try:
        value, end = _decoder.raw_decode(body)
    except (ValueError, RecursionError):
        return _from_broken(body)
    call = object_of(value)
    given = call.get("arguments", call.get("parameters", {}))
    name = text_of(call.get("name"))
    if name is None or body[end:].strip():
        return _from_broken(body)
    if isinstance(given, str):
        return TextCall(name, given)
    try:
        return TextCall(name, json.dumps(given, ensure_ascii=False, allow_nan=False))
    except (ValueError, RecursionError):
        return _from_broken(body)


def _from_broken(body: str) -> TextCall:
    """Name and arguments of JSON that cannot be read, as far as they are there."""
    name, found = _NAME.search(body), _ARGUMENTS.search(body)
    if name is None:
        return TextCall("", body)
    return TextCall(name.group(1), _extent(body[found.end() :]) if found else body[name.end() :].strip())


def _extent(text: str) -> str:
    """The text up to the bracket that closes the one that it begins with; all of it where there is none."""
    depth = 0
    for mark in re.finditer(r'"(?:[^"\\]|\\.)*+"?|[{}\[\]]', text, re.DOTALL):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(mark.group(), 0)
        if depth <= 0 and mark.group() in {"}", "]"}:
            return text[: mark.end()]
    return text


def _from_xml(body: str, tools: Mapping[str, Mapping[str, Any]], *, closed: bool) -> TextCall:
    head = _HEAD.match(body)
    if head is None:
        return TextCall("", body)
    name = head.group(1).strip().strip("\"'")
    inner = body[head.end() :]
    if not (closed or inner.endswith(_END)):
        return TextCall(name, inner.strip())
    schema = tools.get(name, {})
    found = list(_PARAMETER.finditer(inner))
    between = "".join(_outside(inner, found)).replace(_END, "").strip()
    if between and (found or not isinstance(json_value(between, otherwise=None), dict)):
        return TextCall(name, inner.strip())
    if between:
        return TextCall(name, between)
    properties = object_of(schema.get("properties"))
    arguments = {
        key: typed(_unwrapped(match.group(2)), properties.get(key), schema)
        for match in found
        for key in [match.group(1).strip().strip("\"'")]
    }
    return TextCall(name, json.dumps(arguments, ensure_ascii=False))


def _outside(text: str, found: list[re.Match[str]]) -> Iterator[str]:
    """What stands between the parameters."""
    at = 0
    for match in found:
        yield text[at : match.start()]
        at = match.end()
    yield text[at:]


def _unwrapped(value: str) -> str:
    """A value without the line breaks that the template puts around it."""
    line_end = "\r\n" if value.startswith("\r\n") else "\n"
    return value.removeprefix(line_end).removesuffix(line_end)
