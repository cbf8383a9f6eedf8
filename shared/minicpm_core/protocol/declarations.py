"""Declarations of tools, as the Chat Completions API has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicpm_core.protocol.fields import object_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def parameters_of(tools: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The JSON schema of the parameters of each tool, by the tool's name; of what is no function, nothing."""
    functions = [object_of(tool.get("function")) for tool in tools]
    return {name: object_of(each.get("parameters")) for each in functions if (name := text_of(each.get("name")))}
