"""Tools: the same declaration is the same request; where the frameworks read a function differently is pinned here."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import StructuredTool, tool
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.tools import FunctionTool

from langchain_minicpm import ChatMiniCPM
from llama_index_minicpm import MiniCPM
from minicpm_core import BACKENDS
from tests.parity.functions import Trip, nothing, plan, weather
from tests.parity.wire import MODES
from tests.support.declared import declared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.parity.wire import Outcome, Wire


Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | None"

_PARAMETERS: dict[str, dict[str, Any]] = {
    "look": {"type": "object", "properties": {}},
    "get_weather": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOLS: Final[list[dict[str, Any]]] = [
    {"type": "function", "function": {"name": name, "description": f"{name}!", "parameters": parameters}}
    for name, parameters in _PARAMETERS.items()
]


def outcomes(
    wire: Wire,
    backend: str,
    mode: str,
    langchain_tools: Sequence[Any],
    llama_index_tools: Sequence[Any],
    **options: Any,
) -> tuple[Outcome, Outcome]:
    """What comes of a question with tools in LangChain and in LlamaIndex."""
    made = wire.settings(backend)
    messages = [HumanMessage("Hello?")]
    history = [ChatMessage("Hello?")]
    return (
        wire.ask(lambda: getattr(ChatMiniCPM(**made).bind_tools(langchain_tools, **options), mode)(messages)),
        wire.ask(
            lambda: getattr(MiniCPM(**made), f"{MODES[mode]}_with_tools")(
                llama_index_tools, chat_history=history, **options
            )
        ),
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tool_choice": "auto"},
        {"tool_choice": "none"},
        {"tool_choice": "required"},
        {"tool_choice": "any"},
        {"tool_choice": "look"},
        {"tool_choice": {"type": "function", "function": {"name": "look"}}},
        {"parallel_tool_calls": False},
        {"tool_choice": "required", "parallel_tool_calls": True, "temperature": 0, "thinking": True},
    ],
    ids=str,
)
def test_declared_tools(wire: Wire, backend: str, mode: str, options: dict[str, Any]) -> None:
    """Both send the same: tools that are given as JSON as they are, where the server honours the choice."""
    langchain, llama_index = outcomes(wire, backend, mode, TOOLS, [declared(each) for each in TOOLS], **options)
    assert langchain == llama_index
    choice = options.get("tool_choice", "auto")
    kind = {"any": "required", "look": "named"}.get(choice, choice) if isinstance(choice, str) else "named"
    if kind in BACKENDS[backend].tool_choices | {"auto"}:  # type: ignore[index]
        assert langchain.sent[0].body["tools"] == TOOLS


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{}, {"tool_choice": "auto"}, {"tool_choice": "none"}], ids=str)
def test_no_tools(wire: Wire, mode: str, options: dict[str, Any]) -> None:
    """Neither an empty list nor a choice among none is sent."""
    langchain, llama_index = outcomes(wire, "vllm", mode, [], [], **options)
    assert langchain == llama_index
    assert not {"tools", "tool_choice"} & langchain.sent[0].body.keys()


def test_one_word_for_a_tool_that_must_be_called(wire: Wire) -> None:
    """LangChain's `tool_choice=True` is LlamaIndex's `tool_required=True`."""
    made = wire.settings("vllm")
    bound = ChatMiniCPM(**made).bind_tools(TOOLS, tool_choice=True)
    langchain = wire.ask(lambda: bound.invoke("Hello?"))
    llama_index = wire.ask(
        lambda: MiniCPM(**made).chat_with_tools([declared(each) for each in TOOLS], "Hello?", tool_required=True)
    )
    assert langchain == llama_index
    assert langchain.sent[0].body["tool_choice"] == "required"


def as_langchain_reads_it(value: Json, definitions: dict[str, Json]) -> Json:
    """A JSON schema without titles, and with its definitions in the place of references."""
    if isinstance(value, list):
        return [as_langchain_reads_it(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return as_langchain_reads_it(definitions[str(value["$ref"]).rpartition("/")[2]], definitions)
    return {
        key: as_langchain_reads_it(inner, definitions)
        for key, inner in value.items()
        if key != "$defs" and not (key == "title" and isinstance(inner, str))
    }


@pytest.mark.parametrize("function", [weather, plan, nothing], ids=lambda function: function.__name__)
def test_a_function_as_a_tool(wire: Wire, function: Callable[..., str]) -> None:
    """The same but for three things that are each framework's own way to read a function.

    LlamaIndex puts the signature before the description, keeps pydantic's titles, and keeps definitions apart.
    """
    langchain, llama_index = outcomes(wire, "vllm", "invoke", [tool(function)], [FunctionTool.from_defaults(function)])
    (one,), (other,) = (outcome.sent[0].body.pop("tools") for outcome in (langchain, llama_index))
    assert langchain == llama_index
    signature, _, description = other["function"]["description"].partition("\n")
    assert signature == f"{function.__name__}{inspect.signature(function)}"
    parameters = other["function"]["parameters"]
    settled = as_langchain_reads_it(parameters, parameters.get("$defs", {}))
    assert one == {
        "type": "function",
        "function": {"name": function.__name__, "description": description, "parameters": settled},
    }


def test_a_schema_as_a_tool(wire: Wire) -> None:
    """With a name, a description and a schema given, only titles and definitions differ."""
    named: dict[str, Any] = {"name": "plan_trip", "description": "Plan a trip."}
    langchain, llama_index = outcomes(
        wire,
        "vllm",
        "invoke",
        [StructuredTool(**named, args_schema=Trip, func=nothing)],
        [FunctionTool.from_defaults(nothing, **named, fn_schema=Trip)],
    )
    (one,), (other,) = (outcome.sent[0].body.pop("tools") for outcome in (langchain, llama_index))
    assert langchain == llama_index
    assert one == other
    assert one["function"] | named == one["function"]
    assert "$defs" not in one["function"]["parameters"]
    assert "title" in one["function"]["parameters"]["properties"]  # a field of that name is no title
