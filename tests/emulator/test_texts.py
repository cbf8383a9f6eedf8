"""Text tasks are answered by rule, whatever the words around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.emulator.support import Asker

NOTE = "(emulator, not a model)"


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("Repeat after me: the sea is blue", "the sea is blue"),
        ("please say: two lines\nof text", "two lines\nof text"),
        ('Say "good morning".', "good morning"),
        ("Say hello.", "hello."),
        ("Echo 你好，世界！🙂", "你好，世界！🙂"),
        ("Reply with exactly OK", "OK"),
        ("Count to 5.", "1 2 3 4 5"),
        ("count to twelve", "1 2 3 4 5 6 7 8 9 10 11 12"),
        ("Please count from 3 to -1", "3 2 1 0 -1"),
        ("Count to a million", None),
        ("Count to 1000000", f"That is further than I count (10000 numbers). {NOTE}"),
        ("What is 2 + 3?", "2 + 3 = 5"),
        ("7*8=", "7 * 8 = 56"),
        ("0.1 plus 0.2", "0.1 + 0.2 = 0.3"),
        ("How much is 9 divided by 4?", "9 / 4 = 2.25"),
        ("1e", None),
        ("5 - 7", "5 - 7 = -2"),
        ("1 / 0", "1 / 0 has no value: nothing can be divided by zero."),
        ("My favourite colour is teal.", "Noted: your favourite colour is teal."),
        ("What is my name?", "You have not told me your name."),
        ("Summarise: It rained. Nobody minded.", "It rained."),
        ("Who are you?", f"I am the MiniCPM emulator: I answer by rule. {NOTE}"),
    ],
)
def test_a_task_is_done(asker: Asker, asked: str, answered: str | None) -> None:
    said = asker.text(asked)
    assert said == answered if answered is not None else NOTE in said


def test_what_no_rule_knows_is_quoted_with_what_was_received(asker: Asker) -> None:
    said = asker.text(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Tell me   a joke"},
        ]
    )
    assert said == f"I received 2 messages. The last of the user has 4 words: “Tell me   a joke” {NOTE}"


def test_a_long_text_is_quoted_in_part(asker: Asker) -> None:
    said = asker.text("word " * 500)
    assert "has 500 words" in said
    assert len(said) < 320


def test_what_the_user_told_is_remembered_and_the_latest_wins(asker: Asker) -> None:
    turns = [
        {"role": "user", "content": "Hello, my name is Ada. My town is Trondheim."},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "Sorry, my name is Grace."},
        {"role": "assistant", "content": "Noted."},
    ]
    assert asker.text([*turns, {"role": "user", "content": "What is my name?"}]) == "Your name is Grace."
    assert asker.text([*turns, {"role": "user", "content": "what's my town"}]) == "Your town is Trondheim."


@pytest.mark.parametrize(
    ("system", "answered"),
    [
        ("You are a lighthouse.", "I am a lighthouse."),
        ("You're the harbour master of Bergen. Be kind.", "I am the harbour master of Bergen."),
    ],
)
def test_the_system_message_says_who_answers(asker: Asker, system: str, answered: str) -> None:
    turns = [{"role": "system", "content": system}, {"role": "user", "content": "Who are you?"}]
    assert asker.text(turns) == answered


def test_a_summary_without_a_text_is_of_the_turn_before(asker: Asker) -> None:
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "Write something."},
        {"role": "assistant", "content": "Boats float. Stones sink."},
        {"role": "user", "content": "Summarize that."},
    ]
    assert asker.text(turns) == "Boats float."


def test_text_parts_count_as_one_text(asker: Asker) -> None:
    parts = [{"type": "text", "text": "Repeat after me:"}, {"type": "text", "text": "both parts"}]
    assert asker.text([{"role": "user", "content": parts}]) == "both parts"


def test_the_same_question_has_the_same_answer_whatever_the_sampling(asker: Asker) -> None:
    answers = {asker.text("Anything?", temperature=t, seed=s, top_p=p) for t, s, p in [(0, 1, 1), (1.5, 2, 0.1)]}
    assert len(answers) == 1


def test_every_answer_says_that_no_model_gave_it(asker: Asker) -> None:
    assert asker.ask("Count to 3.")["system_fingerprint"] == "minicpm-emulator"
    assert {chunk["system_fingerprint"] for chunk in asker.stream("Count to 3.").chunks} == {"minicpm-emulator"}
