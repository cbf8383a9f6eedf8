"""The same settings and options are the same request, whether given to the model object or to the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from llama_index.core.base.llms.types import ChatMessage

from langchain_minicpm import ChatMiniCPM
from llama_index_minicpm import MiniCPM
from minicpm_core import BACKENDS
from minicpm_core.config import Timeouts
from tests.parity.wire import MODES

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from tests.parity.wire import Outcome, Wire

_ZERO_TO = {top: st.floats(0, top) for top in (1, 2)}
_PENALTIES = st.floats(-2, 2)
_WORDS = st.text(min_size=1, max_size=5)
_STOP = _WORDS | st.lists(_WORDS, max_size=3)
_EXTRA: SearchStrategy[dict[str, Any]] = st.sampled_from([
    {}, {"top_k": 20}, {"min_p": 0.1, "repetition_penalty": 1.1}, {"temperature": 0.5}, {"stream_options": None},
    {"chat_template_kwargs": {"enable_thinking": True, "downsample_mode": "4x"}}, {"reasoning_effort": "high"},
])  # fmt: skip
_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {}}},
}

_EVERYWHERE: Final[dict[str, SearchStrategy[Any]]] = {
    "temperature": _ZERO_TO[2],
    "top_p": _ZERO_TO[1],
    "max_tokens": st.integers(1, 10**6),
    "stop": _STOP,
    "seed": st.integers(-(2**31), 2**31),
    "presence_penalty": _PENALTIES,
    "frequency_penalty": _PENALTIES,
    "logprobs": st.booleans(),
    "top_logprobs": st.integers(0, 20),
    "thinking": st.booleans(),
    "stream_usage": st.booleans(),
    "extra_body": _EXTRA,
    "model": st.sampled_from(["MiniCPM-V-4.6-1B", "MiniCPM-V-4.6-Instruct", "MiniCPM-V-4.6-Thinking", "x"]),
    "timeout": st.sampled_from([5, 0.5]) | st.builds(Timeouts, st.just(1.0), st.none()),
}
"""What both model objects have a field for."""
_OF_MODELS: Final = {
    **_EVERYWHERE,
    "default_headers": st.sampled_from([{"X-Team": "blue"}, {"Authorization": "Bearer of-another"}]),
}
_OF_CALLS: Final[dict[str, SearchStrategy[Any]]] = {
    **{name: values for name, values in _EVERYWHERE.items() if name != "stop"},
    "n": st.just(1),
    "logit_bias": st.sampled_from([{}, {"42": -100, "7": 1.5}]),
    "user": st.just("ada"),
    "response_format": st.sampled_from([{"type": "json_object"}, {"type": "text"}]),
    "tools": st.sampled_from([[], [_TOOL], [_TOOL, _TOOL]]),
    "tool_choice": st.sampled_from(["auto", "none", "required", {"type": "function", "function": {"name": "look"}}]),
    "parallel_tool_calls": st.booleans(),
    "extra_headers": st.sampled_from([{}, {"X-Team": "red"}]),
}
_WRONG: Final[SearchStrategy[dict[str, Any]]] = st.sampled_from([
    {"temperature": -1}, {"temperature": "hot"}, {"top_p": 1.5}, {"max_tokens": 0}, {"max_tokens": 1.5}, {"n": 0},
    {"stop": [""]}, {"stop": 5}, {"seed": "x"}, {"logprobs": 1}, {"thinking": "yes"}, {"extra_body": [1]},
    {"extra_body": {"a": float("nan")}}, {"extra_body": {"a": object()}}, {"extra_headers": {"a": "b\n"}},
    {"timeout": 0}, {"timeout": "soon"}, {"temprature": 1}, {"top_k": 20}, {"user": "\ud800"},
    {"response_format": "json"}, {"logit_bias": [1]}, {"model": ""},
])  # fmt: skip


def _options(
    optional: dict[str, SearchStrategy[Any]], **never_none: SearchStrategy[Any]
) -> SearchStrategy[dict[str, Any]]:
    """Some of the options, each with a value or `None`."""
    or_none = {name: st.none() | values for name, values in optional.items()}
    return st.fixed_dictionaries({}, optional={**or_none, **never_none})


def outcomes(
    wire: Wire, backend: str, mode: str, of_model: dict[str, Any], of_call: dict[str, Any]
) -> tuple[Outcome, Outcome]:
    """What comes of a question in LangChain and in LlamaIndex."""
    made = wire.settings(backend, **of_model)
    return (
        wire.ask(lambda: getattr(ChatMiniCPM(**made), mode)([HumanMessage("Hello?")], **of_call)),
        wire.ask(lambda: getattr(MiniCPM(**made), MODES[mode])([ChatMessage("Hello?")], **of_call)),
    )


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=20)
@given(of_model=_options(_OF_MODELS), of_call=_options(_OF_CALLS, stop=_STOP))
def test_options(wire: Wire, backend: str, of_model: dict[str, Any], of_call: dict[str, Any]) -> None:
    """Both adapters send the same, refuse the same and warn of the same."""
    for mode in MODES:
        langchain, llama_index = outcomes(wire, backend, mode, of_model, of_call)
        assert langchain == llama_index
        answered = langchain.refused is None or langchain.refused.startswith("ToolCallError")  # a call was wanted
        assert bool(langchain.sent) is answered


@settings(max_examples=100)
@given(
    of_call=_WRONG,
    more=_options(_OF_CALLS, stop=_STOP),
    backend=st.sampled_from(sorted(BACKENDS)),
    mode=st.sampled_from(sorted(MODES)),
)
def test_wrong_options(wire: Wire, of_call: dict[str, Any], more: dict[str, Any], backend: str, mode: str) -> None:
    """What one adapter refuses, the other does too, with the same error and in the same words."""
    langchain, llama_index = outcomes(wire, backend, mode, {}, more | of_call)
    assert langchain == llama_index


def test_only_llama_index_can_take_the_stops_back(wire: Wire) -> None:
    """A call's `None` takes a setting back, but `stop=None` is LangChain's way to say nothing about it."""
    langchain, llama_index = outcomes(wire, "vllm", "invoke", {"stop": "x", "seed": 1}, {"stop": None, "seed": None})
    assert [outcome.sent[0].body.get("seed") for outcome in (langchain, llama_index)] == [None, None]
    assert [outcome.sent[0].body.get("stop") for outcome in (langchain, llama_index)] == [["x"], None]


@pytest.mark.parametrize("mode", MODES)
def test_several_answers(wire: Wire, mode: str) -> None:
    """Both ask for several answers at once; LangChain's stream has one, so there it is refused before it is sent."""
    langchain, llama_index = outcomes(wire, "vllm", mode, {}, {"n": 2})
    assert llama_index.sent[0].body["n"] == 2
    if "stream" in mode:
        assert (langchain.sent, (langchain.refused or "").partition(":")[0]) == ((), "UnsupportedFeatureError")
    else:
        assert langchain == llama_index
