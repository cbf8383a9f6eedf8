"""Tokens, limits, stop texts, several answers, log probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.emulator.tokens import count, tokens
from minicpm_core.media import count_image_tokens
from tests.emulator.support import INSTRUCT, THINKING, plain, shown, tool

if TYPE_CHECKING:
    from tests.emulator.conftest import AskerFactory
    from tests.emulator.support import Asker


@given(st.text())
def test_the_tokens_of_a_text_joined_are_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("Count to five.", 4),
        ("你好，世界！", 6),
        ("mixed 中文 text", 4),
        ("a" * 33, 3),
        (" \n", 1),
        ("it's", 3),
        ("🙂👍🏽", 3),
    ],
)
def test_tokens_are_words_signs_and_unspaced_characters(text: str, number: int) -> None:
    assert count(text) == number


def test_usage_counts_the_text_the_turns_and_the_answer(asker: Asker) -> None:
    usage = asker.ask("Count to five.")["usage"]
    assert usage["prompt_tokens"] == 4 + 4 + 3  # words and the full stop; the turn's marks; the answer's opening
    assert usage["completion_tokens"] == 5
    assert usage["total_tokens"] == 16


def test_a_picture_costs_what_the_model_s_formula_says(asker: Asker) -> None:
    text_only = asker.ask("Describe this.")["usage"]["prompt_tokens"]
    with_picture = asker.ask([shown("Describe this.", plain("red", (640, 480)))])["usage"]["prompt_tokens"]
    assert with_picture - text_only == count_image_tokens((640, 480), INSTRUCT)


def test_the_number_of_a_picture_costs_tokens_too(asker: Asker) -> None:
    pictures = [plain("red", (10, 10))] * 11
    ten = asker.ask([shown("x", *pictures[:10])])["usage"]["prompt_tokens"]
    eleven = asker.ask([shown("x", *pictures)])["usage"]["prompt_tokens"]
    assert eleven - ten == count_image_tokens((10, 10), INSTRUCT, index=10)


def test_tools_and_earlier_calls_cost_tokens(asker: Asker) -> None:
    bare = asker.ask("Count to 2.")["usage"]["prompt_tokens"]
    with_tool = asker.ask("Count to 2.", tools=[tool("weather")])["usage"]["prompt_tokens"]
    assert with_tool > bare


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_token_limit_cuts_the_answer(asker: Asker, field: str) -> None:
    answer = asker.ask("Count to 50.", **{field: 3})
    assert answer["choices"][0]["message"]["content"] == "1 2 3"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


def test_a_limit_that_is_just_enough_is_no_limit(asker: Asker) -> None:
    assert asker.ask("Count to 3.", max_tokens=3)["choices"][0]["finish_reason"] == "stop"


def test_the_limit_counts_thoughts_first(asker: Asker) -> None:
    answer = asker.ask("Count to 50.", model=THINKING, max_tokens=2)
    assert answer["choices"][0]["message"]["content"] is None
    assert answer["choices"][0]["message"]["reasoning"] == "I received"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


def test_the_limit_cuts_a_tool_call_too(asker: Asker) -> None:
    answer = asker.ask(
        "weather in Paris", tools=[tool("weather", city={"type": "string"})], tool_choice="required", max_tokens=3
    )
    call = answer["choices"][0]["message"]["tool_calls"][0]["function"]
    assert call == {"name": "weather", "arguments": '{"'}
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("stop", "text", "met"),
    [
        ("3", "1 2 ", "3"),
        (["8", " 4"], "1 2 3", " 4"),
        (["x"], "1 2 3 4 5 6 7 8 9", None),
        ([], "1 2 3 4 5 6 7 8 9", None),
    ],
)
def test_a_stop_text_ends_the_answer_and_is_cut_off(
    asker: Asker, stop: str | list[str], text: str, met: str | None
) -> None:
    choice = asker.ask("Count to 9.", stop=stop)["choices"][0]
    assert choice["message"]["content"] == text
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", met)
    stream = asker.stream("Count to 9.", stop=stop)
    assert stream.joined("content") == text
    assert stream.finish_reasons == ["stop"]


def test_an_answer_stays_inside_the_context(asker_of: AskerFactory) -> None:
    answer = asker_of(context=20).ask("Count to 50.")
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] == 20


def test_several_answers_are_several_choices(asker: Asker) -> None:
    answer = asker.ask("Count to 2.", n=3)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in answer["choices"]} == {"1 2"}
    assert answer["usage"]["completion_tokens"] == 6
    stream = asker.stream("Count to 2.", n=3)
    assert stream.finish_reasons == ["stop"] * 3


@pytest.mark.parametrize("dialect", ["vllm", "llamacpp"])
def test_log_probabilities_stand_beside_the_tokens_they_are_of(asker_of: AskerFactory, dialect: str) -> None:
    asker = asker_of(dialect=dialect)
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    entries = asker.ask("Count to 2.", logprobs=True, top_logprobs=3, **off)["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in entries] == ["1", " 2"]
    assert entries[1] == {
        "token": " 2",
        "logprob": 0.0,
        "bytes": [32, 50],
        "top_logprobs": [{"token": " 2", "logprob": 0.0, "bytes": [32, 50]}],
    }
    stream = asker.stream("Count to 2.", logprobs=True, **off)
    given = [choice["logprobs"] for chunk in stream.chunks for choice in chunk["choices"] if choice.get("logprobs")]
    assert [[entry["token"] for entry in some["content"]] for some in given] == [["1"], [" 2"]]
    assert asker.ask("Count to 2.", **off)["choices"][0].get("logprobs") is None
