"""What a streamed choice says: thoughts, calls, log probabilities, characters, each as in a whole reply."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.protocol.reply import parse_completion
from minicpm_core.protocol.stream import StreamDecoder
from minicpm_core.types import Choice, Delta, ToolCallDelta
from tests.core.support import PLAIN, THINKING, decode, final_of, first_of
from tests.support.server import chunk, sse

if TYPE_CHECKING:
    from minicpm_core.protocol.reply import ReplyContext

# --- Reasoning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_comes_by_either_name(field: str) -> None:
    deltas = decode(
        chunk("", role="assistant"),
        chunk(**{field: "\nHm"}),
        chunk(**{field: ".\n"}),
        chunk("\n\nYes"),
        chunk("."),
        chunk(finish="stop"),
        context=THINKING,
    )
    assert deltas[:-1] == [Delta(reasoning="Hm"), Delta(reasoning="."), Delta("Yes"), Delta(".")]
    assert first_of(deltas) == Choice(text="Yes.", reasoning="Hm.", finish_reason="stop")


def test_reasoning_under_both_names_at_once_counts_once() -> None:
    deltas = decode(chunk(reasoning="Hm.", reasoning_content="Hm."), chunk("a", finish="stop"), context=THINKING)
    assert first_of(deltas).reasoning == "Hm."


def test_reasoning_and_text_in_one_chunk() -> None:
    deltas = decode(chunk("Yes.", reasoning="Hm."), chunk(finish="stop"), context=THINKING)
    assert deltas[:-1] == [Delta(reasoning="Hm."), Delta("Yes.")]


def test_reasoning_is_promoted_where_thinking_was_off_and_nothing_else_came() -> None:
    """The Qwen3 parser of vLLM takes a whole answer for thoughts where it believes that thinking was on."""
    deltas = decode(chunk(reasoning="Hel"), chunk(reasoning="lo."), chunk(finish="stop"))
    assert deltas[:-1] == [Delta("Hello.")]
    assert first_of(deltas) == Choice(text="Hello.", finish_reason="stop", reasoning_promoted=True)


@pytest.mark.parametrize(
    ("chunks", "context", "choice"),
    [
        ([chunk("a"), chunk(finish="stop")], PLAIN, Choice(text="a", reasoning="Hm.", finish_reason="stop")),
        ([chunk(finish="length")], PLAIN, Choice(reasoning="Hm.", finish_reason="length")),
        ([chunk(finish="stop")], THINKING, Choice(reasoning="Hm.", finish_reason="stop")),
    ],
)
def test_reasoning_stays_reasoning_otherwise(
    chunks: list[dict[str, Any]], context: ReplyContext, choice: Choice
) -> None:
    deltas = decode(chunk(reasoning="Hm."), *chunks, context=context)
    assert first_of(deltas) == choice
    assert "".join(delta.reasoning for delta in deltas) == "Hm."


def test_blank_content_does_not_keep_reasoning_from_being_promoted() -> None:
    deltas = decode(chunk(reasoning="Hello."), chunk(" \n"), chunk(finish="stop"))
    assert first_of(deltas) == Choice(text="Hello.", finish_reason="stop", reasoning_promoted=True)


def test_thoughts_without_an_opening_tag_are_remembered_of_the_server() -> None:
    decoder = StreamDecoder({}, THINKING)
    deltas = decoder.feed(sse(chunk("Hm."), chunk("</think>"), chunk("\n\nYes."), chunk(finish="stop"), "[DONE]"))
    assert decoder.saw_inline_reasoning
    assert deltas[:-1] == [Delta(reasoning="Hm."), Delta("Yes.")]


# --- Tool calls ------------------------------------------------------------------------------------------------------

_CALL = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_blanks_beside_calls_are_no_text() -> None:
    deltas = decode(
        chunk("\n"), chunk(" "), chunk(tool_calls=[_CALL]), chunk("\n"), chunk(" \n"), chunk(finish="tool_calls")
    )  # fmt: skip
    assert deltas[:-1] == [Delta(tool_calls=(ToolCallDelta(0, "a", "f", "{}"),))]
    assert first_of(deltas).text == ""


def test_text_around_calls_is_kept_with_its_blanks() -> None:
    deltas = decode(
        chunk(" Look."), chunk(tool_calls=[_CALL]), chunk("\n"), chunk("Then"), chunk(" this."), chunk(finish="stop")
    )  # fmt: skip
    assert [delta.text for delta in deltas if delta.text] == [" Look.", "\nThen", " this."]
    assert first_of(deltas).text == " Look.\nThen this."


def test_a_call_shows_that_unasked_reasoning_is_no_answer() -> None:
    deltas = decode(chunk(reasoning="Hm."), chunk(tool_calls=[_CALL]), chunk(finish="tool_calls"))
    assert [delta.reasoning for delta in deltas] == ["Hm.", "", ""]
    assert first_of(deltas).reasoning_promoted is False


# --- Log probabilities and refusals ----------------------------------------------------------------------------------


def _with_logprobs(text: str | None, logprobs: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "logprobs": logprobs}]}


def test_log_probabilities_are_joined_and_each_delta_keeps_its_own() -> None:
    sent = [{"content": None, "refusal": None}, {"content": [1]}, {"content": [2, 3]}, {"content": None}, None]
    deltas = decode(*(_with_logprobs("a", each) for each in sent), chunk(finish="stop"))
    assert [delta.logprobs for delta in deltas[:-1]] == sent
    assert first_of(deltas).logprobs == {"content": [1, 2, 3]}


def test_log_probabilities_of_text_that_is_held_back_are_handed_out() -> None:
    deltas = decode(_with_logprobs("Hm.", {"content": [1]}), chunk("</think>a", finish="stop"), context=THINKING)
    assert deltas[0] == Delta(logprobs={"content": [1]})
    assert first_of(deltas).reasoning == "Hm."


def test_log_probabilities_of_odd_shapes_take_nothing_away() -> None:
    sent = [{"content": "x"}, {"content": [1]}, {"content": 5}, {"other": 1}]
    deltas = decode(*(_with_logprobs("a", each) for each in sent), chunk(finish="stop"))
    assert first_of(deltas).logprobs == {"content": 5, "other": 1}


def test_a_refusal_is_put_together() -> None:
    assert first_of(decode(chunk(refusal="I "), chunk(refusal="won't."), chunk(finish="stop"))).refusal == "I won't."


# --- Characters ------------------------------------------------------------------------------------------------------


def test_an_emoji_that_is_cut_in_two_is_one() -> None:
    """Servers written in JavaScript cut text between the halves of a surrogate pair."""
    halves = json.dumps("🙂")[1:-1]
    high, low = json.loads(f'"{halves[:6]}"'), json.loads(f'"{halves[6:]}"')
    deltas = decode(
        chunk("a"), chunk(f"b{high}"), chunk(f"{low}c"), chunk(high), chunk(low), chunk("d"), chunk(finish="stop")
    )
    assert first_of(deltas).text == "ab🙂c🙂d"
    assert "".join(delta.text for delta in deltas) == "ab🙂c🙂d"
    deltas = decode(chunk(reasoning=f"b{high}"), chunk(reasoning=low), chunk(finish="length"), context=THINKING)
    assert first_of(deltas).reasoning == "b🙂"


def test_half_an_emoji_becomes_a_replacement_character() -> None:
    deltas = decode(chunk("a\udc00b"), chunk("c\ud83d"), chunk("d"), chunk("\ud83d"), chunk(finish="stop"))
    assert first_of(deltas).text == "a\ufffdbc\ufffdd\ufffd"
    assert "".join(delta.text for delta in deltas) == "a\ufffdbc\ufffdd\ufffd"


def test_half_an_emoji_at_the_end_of_thoughts_becomes_one_too() -> None:
    deltas = decode(chunk(reasoning="a\ud83d"), chunk("b"), chunk(finish="stop"), context=THINKING)
    assert first_of(deltas).reasoning == "a\ufffd"
    assert first_of(deltas).text == "b"


def test_an_answer_of_blanks_alone_is_one() -> None:
    deltas = decode(chunk(" "), chunk(" "), chunk(finish="length"))
    assert first_of(deltas).text == "  "
    assert "".join(delta.text for delta in deltas) == "  "


# --- A stream is worth what the whole reply is -----------------------------------------------------------------------

_PIECES = st.lists(
    st.sampled_from(["a", "你", "🙂", " ", "\n", "<think>", "</think>", "</thi", "nk>", "<", "b</think>\n\nc"]),
    max_size=6,
)
_ARGUMENTS = st.sampled_from([[], ["{", "}"], ['{"a": ', "1}"]])


@given(
    thoughts=st.lists(st.sampled_from(["Hm", ".", "\n", "🙂"]), max_size=3),
    content=_PIECES,
    calls=st.lists(_ARGUMENTS.filter(bool), max_size=2),
    reason=st.sampled_from(["stop", "length", "tool_calls"]),
    context=st.sampled_from([THINKING]) | st.just(PLAIN),
    size=st.integers(1, 400),
)
def test_a_stream_gives_what_the_whole_reply_would(
    thoughts: list[str], content: list[str], calls: list[list[str]], reason: str, context: ReplyContext, size: int
) -> None:
    """The only difference: where thinking was off, a lone `</think>` in a stream comes too late to take text back."""
    text = "".join(content)
    if not context.thinking:
        text = text.replace("</think>", "").replace("nk>", "")
        content = [text]
    whole_calls = [{"id": str(n), "function": {"name": "f", "arguments": "".join(a)}} for n, a in enumerate(calls)]
    message = {"content": text or None, "reasoning": "".join(thoughts) or None, "tool_calls": whole_calls}
    whole = parse_completion(
        200, {}, json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": reason}]}).encode(), context
    )
    chunks = [chunk(reasoning=piece) for piece in thoughts] + [chunk(piece) for piece in content]
    for number, arguments in enumerate(calls):
        first = {"index": number, "id": str(number), "function": {"name": "f"}}
        rest = [{"index": number, "function": {"arguments": piece}} for piece in arguments]
        chunks += [chunk(tool_calls=[piece]) for piece in (first, *rest)]
    stream = sse(*chunks, chunk(finish=reason), "[DONE]")
    decoder = StreamDecoder({}, context)
    deltas = [delta for start in range(0, len(stream), size) for delta in decoder.feed(stream[start : start + size])]
    assert final_of(deltas).choices == whole.choices
    assert "".join(delta.text for delta in deltas) == whole.text
    assert "".join(delta.reasoning for delta in deltas) == whole.reasoning
