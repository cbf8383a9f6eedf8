"""Declarations of tools, as the Chat Completions API has them, checked and in the form that every server takes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from minicpm_core.errors import InvalidInputError
from minicpm_core.protocol.fields import object_of, text_of
from minicpm_core.protocol.schemas import plain_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def declared(tools: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The declarations as they are sent: schemas made plain (`plain_schema`), all else as it is.

    The given objects are not changed.  What is no function (a tool that a server brings along) is passed on untouched.

    Raises:
        InvalidInputError: A function has no name, one that servers refuse, or the name of another; a schema is none.
    """
    sent = [_function(tool) if _is_function(tool) else tool for tool in tools]
    names = Counter(tool["function"]["name"] for tool in sent if _is_function(tool))
    twice = next((name for name, times in names.items() if times > 1), None)
    if twice is not None:
        raise InvalidInputError(
            f"Two tools are named {twice!r}: no one could tell which of them is called. Rename one, or leave it out."
        )
    return sent


def _is_function(tool: Mapping[str, Any]) -> bool:
    return tool.get("type") == "function" or ("type" not in tool and "function" in tool)


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    function: Any = tool.get("function")
    if not isinstance(function, Mapping):
        raise InvalidInputError('A tool must be {"type": "function", "function": {"name": …, "parameters": …}}.')
    given = dict(cast("Mapping[str, Any]", function))
    name: Any = given.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"A tool is named {name!r}: names are 1 to 64 letters of a to z, digits, underscores and dashes."
        )
    parameters: Any = given.get("parameters")
    if parameters is not None:
        if not isinstance(parameters, Mapping):
            raise InvalidInputError(f"The parameters of the tool {name!r} must be a JSON schema of an object.")
        given["parameters"] = plain_schema(cast("Mapping[str, Any]", parameters))
    return {**tool, "type": "function", "function": given}


def parameters_of(tools: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The JSON schema of the parameters of each tool, by the tool's name; of what is no function, nothing."""
    functions = [object_of(tool.get("function")) for tool in tools]
    return {name: object_of(each.get("parameters")) for each in functions if (name := text_of(each.get("name")))}
