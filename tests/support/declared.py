"""LlamaIndex tools that are declared as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.tools import FunctionTool, ToolMetadata

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Declared(ToolMetadata):
    parameters: dict[str, Any]

    def get_parameters_dict(self) -> dict[str, Any]:
        return self.parameters


def declared(tool: Mapping[str, Any]) -> FunctionTool:
    """A tool that does nothing, with a declaration of one's own.

    Args:
        tool: OpenAI's `{"type": "function", "function": {"name": …, "description": …, "parameters": …}}`.
    """
    function = tool["function"]
    metadata = _Declared(description=function["description"], name=function["name"])
    metadata.parameters = function["parameters"]
    return FunctionTool.from_defaults(lambda: None, tool_metadata=metadata)
