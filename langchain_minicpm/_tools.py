"""Tools and `tool_choice` as LangChain's users write them, in the form of the Chat Completions API."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, cast

from langchain_core.utils.function_calling import convert_to_openai_tool

from minicpm_core.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.tools import BaseTool

_WORDS: Final = {"any": "required", "required": "required", "auto": "auto", "none": "none"}
"""LangChain's and Anthropic's words for OpenAI's."""


def openai_tools(
    tools: Sequence[Mapping[str, Any] | type | Callable[..., Any] | BaseTool], *, strict: bool | None = None
) -> list[dict[str, Any]]:
    """Tools of any kind that LangChain knows, as JSON objects.

    Args:
        tools: Tools, functions, Pydantic classes, TypedDicts, JSON schemas with a title, or OpenAI's own form.
        strict: Whether the server should hold the arguments to the schema; `None` leaves it out.
    """
    return [convert_to_openai_tool(cast("Any", tool), strict=strict) for tool in tools]


def openai_tool_choice(choice: Any, tools: Sequence[Mapping[str, Any]]) -> str | dict[str, Any] | None:
    """Which tool must be called, as the API wants it.

    Args:
        choice: `any`, `required`, `auto`, `none`, a tool's name, `True` (some tool), `False` or `None` (as the model
            likes), or a mapping: OpenAI's own, or `{"type": "tool", "name": …}` and the like.
        tools: The tools that are bound.

    Raises:
        InvalidInputError: It names a tool that is not bound, or is of no known form.
    """
    if choice is None or choice is False:
        return None
    if choice is True:
        return "required"
    names = [str(tool.get("function", {}).get("name")) for tool in tools]
    if isinstance(choice, str):
        return _WORDS.get(choice) or _function(choice, names)
    if isinstance(choice, Mapping):
        given = cast("Mapping[str, Any]", choice)
        function = given.get("function")
        name = cast("Mapping[str, Any]", function).get("name") if isinstance(function, Mapping) else given.get("name")
        if name is not None:
            return _function(str(name), names)
        word = _WORDS.get(str(given.get("type")))
        if word is not None:
            return word
    raise InvalidInputError(
        "tool_choice must be 'auto', 'none', 'any', 'required', a tool's name, True, False, or "
        f"{{'type': 'function', 'function': {{'name': …}}}}, not {choice!r}."
    )


def _function(name: str, names: list[str]) -> dict[str, Any]:
    if name not in names:
        near = get_close_matches(name, names, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise InvalidInputError(f"tool_choice names {name!r}, but the tools are {', '.join(names) or 'none'}.{meant}")
    return {"type": "function", "function": {"name": name}}
