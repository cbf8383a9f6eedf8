"""What a request may ask for: checked by name, merged over the client's, never null."""

from __future__ import annotations

import copy
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.config import ClientConfig, Timeouts
from minicpm_core.errors import ConfigurationError, InvalidInputError
from minicpm_core.protocol.options import OPTION_NAMES, body_fields, merged_options

_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "default": None}}}


def _merged(options: dict[str, Any], own: dict[str, Any] | None = None) -> dict[str, Any]:
    given_own: Any = own or {}
    given_options: Any = options
    return merged_options(ClientConfig.create(options=given_own), given_options)


def _fields(**options: Any) -> dict[str, Any]:
    return body_fields(_merged(options))


# --- Merging ---------------------------------------------------------------------------------------------------------


def test_a_call_wins_over_its_client() -> None:
    own = {"temperature": 0.5, "seed": 1}
    assert _merged({"temperature": 0.1, "n": 2}, own) == {"temperature": 0.1, "seed": 1, "n": 2}
    assert own == {"temperature": 0.5, "seed": 1}


def test_none_is_not_sent_and_takes_back_what_the_client_asks_for() -> None:
    assert _merged({"temperature": None, "n": None}, {"temperature": 0.5, "seed": None}) == {}


def test_fields_of_extra_body_are_added_to_the_clients() -> None:
    own = {"extra_body": {"top_k": 1, "min_p": 0}}
    assert _merged({"extra_body": {"top_k": 2}}, own)["extra_body"] == {"top_k": 2, "min_p": 0}
    assert _merged({"extra_body": None}, own) == {}
    assert own == {"extra_body": {"top_k": 1, "min_p": 0}}


def test_headers_and_timeout_of_a_call_are_checked_as_those_of_a_client() -> None:
    merged = _merged({"extra_headers": {"X-Trace": "a"}, "timeout": 5})
    assert merged == {"extra_headers": {"X-Trace": "a"}, "timeout": Timeouts(5.0, 5.0, 5.0, 5.0)}
    with pytest.raises(ConfigurationError, match="X-Trace"):
        _merged({"extra_headers": {"X-Trace": "a\nb"}})
    with pytest.raises(ConfigurationError, match="timeout"):
        _merged({"timeout": -1})


# --- Checking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("temprature", "Did you mean 'temperature'?"),
        ("max_token", "Did you mean 'max_tokens'?"),
        ("stops", "Did you mean 'stop'?"),
        ("top_k", "extra_body={'top_k': …}"),
        ("api_key", "extra_body={'api_key': …}"),
    ],
)
def test_an_unknown_option_is_refused_with_what_was_meant(option: str, meant: str) -> None:
    with pytest.raises(InvalidInputError, match=f"Unknown option '{option}'") as caught:
        _merged({option: 1})
    assert meant in str(caught.value)
    with pytest.raises(InvalidInputError, match="Unknown option"):
        _merged({}, {option: 1})


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", -0.1),
        ("temperature", 10**400),
        ("temperature", "0.5"),
        ("temperature", True),
        ("top_p", 1.1),
        ("top_p", float("nan")),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 1.5),
        ("max_tokens", 10.0),
        ("max_tokens", True),
        ("max_tokens", 10**30),
        ("seed", 0.5),
        pytest.param("seed", 10**5000, id="seed-too long to be written"),
        ("seed", -(2**63) - 1),
        ("presence_penalty", -2.1),
        ("frequency_penalty", 2.1),
        ("top_logprobs", -1),
        ("n", 0),
        ("logprobs", 5),
        ("logprobs", "true"),
        ("parallel_tool_calls", 1),
        ("thinking", "on"),
        ("stream_usage", 0),
        ("model", 5),
        ("user", b"me"),
        ("logit_bias", [1]),
        ("response_format", "json"),
        ("extra_body", [("a", 1)]),
        ("extra_body", {1: 2}),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(option: str, wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match=option):
        _merged({option: wrong})


@pytest.mark.parametrize("wrong", ["", [""], ["a", ""], [5], 5, {"a"}, b"a"])
def test_stop_words_are_texts(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="stop must be a string or a list of strings"):
        _fields(stop=wrong)


@pytest.mark.parametrize("wrong", ["f", [1], _TOOL, [_TOOL, None], 5])
def test_tools_are_a_list_of_mappings(wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match="tools must be a list of mappings"):
        _fields(tools=wrong)


@pytest.mark.parametrize(
    ("option", "right"),
    [
        ("temperature", 0),
        ("temperature", 2.0),
        ("top_p", 0.0),
        ("top_p", 1),
        ("max_tokens", 1),
        ("seed", -(2**63)),
        ("seed", 2**63 - 1),
        ("presence_penalty", -2),
        ("n", 1),
        ("logprobs", False),
        ("user", ""),
        ("logit_bias", {"40": -100}),
        ("response_format", {"type": "json_object"}),
    ],
)
def test_a_value_at_the_edge_is_sent_as_it_is(option: str, right: Any) -> None:
    assert _fields(**{option: right}) == {option: right}


@given(name=st.sampled_from(sorted(OPTION_NAMES)), value=st.none() | st.floats() | st.text() | st.lists(st.integers()))
def test_any_value_is_taken_or_refused_by_an_error_of_ours(name: str, value: Any) -> None:
    try:
        fields = _fields(**{name: value})
    except (InvalidInputError, ConfigurationError):
        return
    assert None not in fields.values()


# --- As fields of the body -------------------------------------------------------------------------------------------


def test_stop_is_always_a_list() -> None:
    assert _fields(stop="5") == {"stop": ["5"]}
    assert _fields(stop=("5", "6")) == {"stop": ["5", "6"]}


def test_what_is_empty_is_left_out() -> None:
    """Strict servers refuse an empty list, which means the same as none."""
    assert _fields(stop=[], tools=[], logit_bias={}) == {}


def test_a_choice_of_tools_without_tools_is_left_out() -> None:
    assert _fields(tool_choice="auto", parallel_tool_calls=False) == {}
    assert _fields(tools=[], tool_choice="required") == {}
    named = {"type": "function", "function": {"name": "f"}}
    fields = _fields(tools=(_TOOL,), tool_choice=named, parallel_tool_calls=False)
    assert fields == {"tools": [_TOOL], "tool_choice": named, "parallel_tool_calls": False}


def test_alternatives_need_log_probabilities() -> None:
    assert _fields(top_logprobs=2) == {"top_logprobs": 2, "logprobs": True}
    assert _fields(top_logprobs=2, logprobs=False) == {"top_logprobs": 2, "logprobs": False}


def test_what_is_no_field_of_the_body_is_not_in_it() -> None:
    """They are read elsewhere: the model, how to think, headers, the timeout."""
    others = {"model": "m", "thinking": True, "stream_usage": True, "extra_body": {"a": 1}, "timeout": 1}
    assert body_fields(_merged(others)) == {}


def test_the_callers_objects_are_not_changed() -> None:
    options = {"stop": ["5"], "tools": [copy.deepcopy(_TOOL)], "extra_body": {"a": {"b": 1}}, "logit_bias": {"1": 2}}
    before = copy.deepcopy(options)
    fields = body_fields(_merged(options))
    fields["stop"].append("6")
    fields["tools"].append({})
    assert options == before


def test_mappings_of_any_kind_are_taken() -> None:
    assert _merged({"extra_body": MappingProxyType({"a": 1})})["extra_body"] == {"a": 1}
