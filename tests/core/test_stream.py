"""A streamed reply: what its chunks may look like, and what comes of them."""

from __future__ import annotations

from typing import Any

import pytest

from minicpm_core.protocol.stream import StreamDecoder
from minicpm_core.types import Choice, Completion, Delta, Usage
from tests.core.support import PLAIN, decode, final_of, first_of
from tests.support.server import chunk, sse

_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def _with_usage(usage: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [], "usage": usage, **more}


def test_the_plain_case() -> None:
    deltas = decode(
        chunk("", role="assistant"), chunk("Hel"), chunk("lo."), chunk(finish="stop"), _with_usage(_USAGE)
    )  # fmt: skip
    assert deltas[:-1] == [Delta("Hel"), Delta("lo.")]
    assert final_of(deltas) == Completion(
        choices=(Choice(text="Hello.", finish_reason="stop"),),
        usage=Usage(3, 2, 5),
        model="MiniCPM-V-4.6-1B",
        id="chatcmpl-1",
        request_id="req-1",
        created=1,
    )


@pytest.mark.parametrize(
    "first",
    [
        chunk(role="assistant"),
        chunk("", role="assistant"),
        chunk(role="assistant", content=None, tool_calls=None, reasoning=None, refusal=None),
        {"id": "x", "model": "m", "choices": [{"index": 0, "delta": None}]},
        {"id": "x", "model": "m", "choices": [{"index": 0}]},
        {"id": "x", "model": "m", "choices": []},
        {"id": "x", "model": "m", "choices": None},
        {"id": "x", "model": "m"},
        {},
    ],
)
def test_a_chunk_that_says_nothing_gives_nothing(first: dict[str, Any]) -> None:
    deltas = decode(first, chunk("Hello."), chunk(finish="stop"))
    assert deltas[:-1] == [Delta("Hello.")]
    assert final_of(deltas).choices == (Choice(text="Hello.", finish_reason="stop"),)


def test_explicit_nulls_are_as_good_as_nothing() -> None:
    """SGLang and vLLM name every field in every chunk."""
    nulls = dict.fromkeys(("role", "reasoning", "reasoning_content", "tool_calls", "refusal", "function_call"))
    deltas = decode(chunk("a", **nulls), chunk("b", **nulls), chunk(None, content=None, finish="stop", **nulls))
    assert deltas[:-1] == [Delta("a"), Delta("b")]


def test_a_message_in_the_place_of_a_delta_is_read() -> None:
    whole = {"choices": [{"index": 0, "message": {"content": "Hello."}, "finish_reason": "stop"}]}
    assert decode(whole)[0] == Delta("Hello.")


def test_a_message_beside_a_delta_repeats_what_was_said() -> None:
    last = {"choices": [{"index": 0, "delta": {}, "message": {"content": "Hello."}, "finish_reason": "stop"}]}
    assert first_of(decode(chunk("Hello."), last)).text == "Hello."


def test_content_may_be_parts() -> None:
    parts = [{"type": "text", "text": "Hel"}, "lo", {"type": "image_url"}, {"type": "text", "text": None}]
    deltas = decode(chunk("> "), chunk(None, content=parts), chunk(finish="stop"))
    assert first_of(deltas).text == "> Hello"


# --- Names, usage and extras -----------------------------------------------------------------------------------------


def test_names_come_from_the_first_chunk_that_has_them() -> None:
    """Some servers begin with a chunk about filters, whose names are empty."""
    empty = {"id": "", "model": "", "created": 0, "choices": [], "filters": [1]}
    final = final_of(decode(empty, chunk("a"), {**chunk(finish="stop"), "id": "later", "model": "later"}))
    assert (final.id, final.model, final.created) == ("chatcmpl-1", "MiniCPM-V-4.6-1B", 1)
    assert final.extras == {"filters": [1]}


def test_of_usage_on_every_chunk_the_last_counts() -> None:
    counts = [{**_USAGE, "completion_tokens": number, "total_tokens": 3 + number} for number in range(3)]
    texts = [{**chunk("a"), "usage": counts[0]}, {**chunk("b"), "usage": counts[1]}]
    deltas = decode(*texts, chunk(finish="stop"), _with_usage(counts[2]))
    assert final_of(deltas).usage == Usage(3, 2, 5)


@pytest.mark.parametrize("empty", [None, {}, [], "none", 0])
def test_a_usage_that_is_none_takes_nothing_away(empty: Any) -> None:
    deltas = decode({**chunk("a"), "usage": _USAGE}, {**chunk(finish="stop"), "usage": empty})
    assert final_of(deltas).usage == Usage(3, 2, 5)


def test_usage_may_come_in_the_finish_chunk_or_with_an_empty_choice() -> None:
    assert final_of(decode(chunk("a"), {**chunk(finish="stop"), "usage": _USAGE}, done=False)).usage == Usage(3, 2, 5)
    relayed = _with_usage(_USAGE, choices=[{"index": 0, "delta": {}}])
    assert final_of(decode(chunk("a"), chunk(finish="stop"), relayed)).usage == Usage(3, 2, 5)


def test_a_stream_without_usage_has_none() -> None:
    assert final_of(decode(chunk("a"), chunk(finish="stop"))).usage is None


def test_what_has_no_place_of_its_own_is_kept() -> None:
    finish = chunk(finish="stop")
    finish["choices"][0] |= {"stop_reason": "5", "token_ids": None}
    final = final_of(decode({**chunk("a"), "service_tier": "x"}, finish, _with_usage(_USAGE, timings={"t": 1})))
    assert final.extras == {"service_tier": "x", "timings": {"t": 1}}
    assert final.choices[0].extras == {"stop_reason": "5"}


# --- Endings that are fine -------------------------------------------------------------------------------------------


def test_a_finish_reason_ends_a_stream_that_never_says_done() -> None:
    assert first_of(decode(chunk("a"), chunk(finish="stop"), done=False)) == Choice(text="a", finish_reason="stop")


def test_done_ends_a_stream_that_never_gives_a_reason() -> None:
    assert first_of(decode(chunk("a"))) == Choice(text="a", finish_reason=None)


@pytest.mark.parametrize("done", [b"data: [DONE]\n\n", b"data:[DONE] \n\n", b"data: [DONE]", b"data: [DONE]\r\n\r\n"])
def test_done_however_it_is_written(done: bytes) -> None:
    decoder = StreamDecoder({}, PLAIN)
    deltas = decoder.feed(sse(chunk("a")) + done) + decoder.finish()
    assert first_of(deltas).text == "a"


def test_what_follows_done_is_not_read() -> None:
    deltas = decode(chunk("a"), chunk(finish="stop"), "[DONE]", chunk("b"), "no JSON", {"error": "late"})
    assert deltas[:-1] == [Delta("a")]


def test_a_repeated_finish_chunk_ends_nothing_twice() -> None:
    deltas = decode(chunk("a"), chunk(finish="stop"), chunk(finish="stop"), chunk(None, finish="stop", content=""))
    assert [delta.final is not None for delta in deltas] == [False, True]


def test_content_in_the_finish_chunk_counts() -> None:
    assert first_of(decode(chunk("a"), chunk("b", finish="length"))) == Choice(text="ab", finish_reason="length")


def test_comments_and_empty_events_mean_nothing() -> None:
    decoder = StreamDecoder({}, PLAIN)
    pings = b": ping\n\ndata:\n\ndata: \ndata:\n\nevent: ping\n\n"
    deltas = decoder.feed(pings + sse(chunk("a")) + pings + sse(chunk(finish="stop"), "[DONE]")) + decoder.finish()
    assert deltas[:-1] == [Delta("a")]


def test_a_finished_decoder_has_nothing_more_to_give() -> None:
    decoder = StreamDecoder({}, PLAIN)
    assert not decoder.done
    decoder.feed(sse(chunk("a"), "[DONE]"))
    assert decoder.done
    assert decoder.feed(sse(chunk("b"))) == []
    assert decoder.finish() == []
    assert decoder.partial.text == "a"


# --- Several choices -------------------------------------------------------------------------------------------------


def test_several_choices_are_kept_apart_and_given_in_their_order() -> None:
    def piece(index: int, text: str, **more: Any) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": {"content": text}, **more}]}

    both = {"choices": [{"index": 1, "finish_reason": "length"}, {"index": 0, "finish_reason": "stop"}]}
    deltas = decode(piece(1, "b"), piece(0, "a"), piece(1, "B"), piece(0, "A"), both)
    assert deltas[:-1] == [Delta("b", index=1), Delta("a"), Delta("B", index=1), Delta("A")]
    assert final_of(deltas).choices == (
        Choice(0, "aA", finish_reason="stop"),
        Choice(1, "bB", finish_reason="length"),
    )
