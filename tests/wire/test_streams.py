"""Streams of real servers give the right message, wherever their bytes are cut."""

from __future__ import annotations

import json
import re
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minicpm_core.errors import APIStatusError, StreamInterruptedError
from minicpm_core.protocol.reply import parse_completion
from minicpm_core.protocol.stream import StreamDecoder
from minicpm_core.types import Completion, Delta
from tests.wire.cases import Case, answered, case_of
from tests.wire.check import answer_of, check_completion, check_error, counts_of

_STREAMS = [case for case in answered() if case.is_stream]
_SHORT = 2_600
_WINDOW = 300


def _decode(case: Case, pieces: list[bytes], *, inline: bool = False) -> list[Delta]:
    context = case.context
    if inline:
        context = type(context)(thinking=True, inline=True)
    decoder = StreamDecoder(case.headers, context)
    return [delta for piece in pieces for delta in decoder.feed(piece)] + decoder.finish()


@cache
def _reference(case_id: tuple[str, str]) -> list[Delta]:
    case = case_of(*case_id)
    return _decode(case, [case.body])


def _whole(case: Case) -> list[Delta]:
    return _reference((case.server, case.name))


def _shown(deltas: list[Delta]) -> str:
    """Deltas in full, but for the ids of calls that the server gave none: those are made up, and differ each time."""
    return re.sub(r"call_[0-9a-f]{24}", "call_made_up", repr(deltas))


def _final(deltas: list[Delta]) -> Completion:
    final = deltas[-1].final
    assert final is not None
    return final


def _at(body: bytes, *cuts: int) -> list[bytes]:
    return [body[start:end] for start, end in pairwise((0, *sorted(cuts), len(body)))]


@pytest.mark.parametrize("case", _STREAMS, ids=str)
def test_a_stream_gives_the_right_message(case: Case) -> None:
    check_completion(case, _final(_whole(case)))


@pytest.mark.parametrize("case", _STREAMS, ids=str)
def test_the_deltas_join_to_the_message(case: Case) -> None:
    """Exactly one delta, the last, is final and carries nothing else."""
    deltas = _whole(case)
    assert [delta.final is not None for delta in deltas] == [False] * (len(deltas) - 1) + [True]
    assert deltas[-1] == Delta(final=deltas[-1].final)
    for choice in _final(deltas).choices:
        own = [delta for delta in deltas[:-1] if delta.index == choice.index]
        assert "".join(delta.text for delta in own) == choice.text
        assert "".join(delta.reasoning for delta in own) == choice.reasoning
        pieces = [piece for delta in own for piece in delta.tool_calls]
        for number, call in enumerate(choice.tool_calls):
            first, *rest = (piece for piece in pieces if piece.index == number)
            assert (first.id, first.name) == (call.id, call.name)
            assert {(piece.id, piece.name) for piece in rest} <= {(None, None)}
            assert "".join(piece.arguments for piece in (first, *rest)) == call.arguments


@pytest.mark.parametrize("case", _STREAMS, ids=str)
def test_bytes_that_come_one_by_one_give_the_same(case: Case) -> None:
    assert _shown(_decode(case, [bytes([byte]) for byte in case.body])) == _shown(_whole(case))


@pytest.mark.parametrize("case", [case for case in _STREAMS if len(case.body) <= _SHORT], ids=str)
def test_a_short_stream_gives_the_same_cut_at_every_byte(case: Case) -> None:
    reference = _shown(_whole(case))
    for cut in range(1, len(case.body)):
        assert _shown(_decode(case, _at(case.body, cut))) == reference, cut


@pytest.mark.parametrize("case", [case for case in _STREAMS if len(case.body) > _SHORT], ids=str)
def test_a_long_stream_gives_the_same_cut_at_every_byte_of_its_begin_and_end(case: Case) -> None:
    """An event in full at the least, at either end; the middle is cut at random below."""
    reference = _shown(_whole(case))
    size = len(case.body)
    for cut in (*range(1, _WINDOW), *range(size - _WINDOW, size)):
        assert _shown(_decode(case, _at(case.body, cut))) == reference, cut


@settings(max_examples=200)
@given(data=st.data(), case=st.sampled_from(_STREAMS))
def test_a_stream_gives_the_same_cut_anywhere_and_any_number_of_times(data: st.DataObject, case: Case) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(case.body)), max_size=30))
    assert _shown(_decode(case, _at(case.body, *cuts))) == _shown(_whole(case))


def _sibling(case: Case) -> Case | None:
    """The case that asks the same of the same server, but not for a stream."""
    asked = {name: value for name, value in (case.request or {}).items() if name not in {"stream", "stream_options"}}
    same = (other for other in answered() if other.server == case.server and other.request == asked)
    return next(same, None)


def test_streams_have_siblings() -> None:
    assert {case.name for case in _STREAMS if _sibling(case)} >= {
        "json_schema_stream", "length_stream", "n2_sampled_stream", "stop_stream", "stream_usage", "tool_auto_stream",
    }  # fmt: skip


@pytest.mark.parametrize("case", [case for case in _STREAMS if _sibling(case)], ids=str)
def test_a_stream_gives_what_the_whole_reply_to_the_same_request_gives(case: Case) -> None:
    sibling = _sibling(case)
    assert sibling is not None
    whole = parse_completion(sibling.status, sibling.headers, sibling.body, sibling.context)
    final = _final(_whole(case))
    assert list(map(answer_of, final.choices)) == list(map(answer_of, whole.choices))
    assert counts_of(final.usage) == counts_of(whole.usage)


@pytest.mark.parametrize("case", _STREAMS, ids=str)
def test_a_stream_that_is_cut_raises_with_what_was_received(case: Case) -> None:
    """Cut after any byte, until the server has said why the answer ended."""
    ended = min(at for at in map(case.body.find, (b'"finish_reason":"', b'"finish_reason": "', b"[DONE]")) if at >= 0)
    for size in range(1, ended, max(1, ended // 60)):
        decoder = StreamDecoder(case.headers, case.context)
        deltas = decoder.feed(case.body[:size])
        with pytest.raises(StreamInterruptedError) as caught:
            decoder.finish()
        partial = caught.value.partial
        assert partial is not None
        for choice, answer in zip(partial.choices, case.answers, strict=False):
            assert answer.text.startswith(choice.text.rstrip()), "blanks before a call are the template's"
            assert answer.reasoning.startswith(choice.reasoning)
            handed_on = "".join(delta.text for delta in deltas if delta.index == choice.index)
            assert choice.text.startswith(handed_on)


def test_an_error_inside_a_stream_is_raised() -> None:
    """`transformers serve` writes `{"error": "text"}` where it fails, and ends the stream."""
    case = case_of("transformers", "stop_stream")
    with pytest.raises(APIStatusError) as caught:
        _decode(case, [case.body])
    check_error(case, caught.value)
    assert caught.value.partial is not None


@pytest.mark.parametrize("cut", [None, 1, 7])
def test_thoughts_without_an_opening_tag_are_told_apart_and_the_next_stream_need_not_wait(cut: int | None) -> None:
    case = case_of("vllm-thinking-noparser", "stream_usage")
    decoder = StreamDecoder(case.headers, case.context)
    held = decoder.feed(case.body)
    assert decoder.saw_inline_reasoning
    size = cut or len(case.body)
    pieces = [case.body[start : start + size] for start in range(0, len(case.body), size)]
    inline = _decode(case, pieces, inline=True)
    assert _final(inline) == _final(held)
    assert sum(bool(delta.reasoning) for delta in held) == 1
    assert sum(bool(delta.reasoning) for delta in inline) > 3


@pytest.mark.parametrize("server", ["vllm", "llamacpp"])
def test_log_probabilities_of_a_stream_are_joined(server: str) -> None:
    case = case_of(server, "logprobs_stream")
    events = [json.loads(line[6:]) for line in case.body.splitlines() if line.startswith(b"data: {")]
    sent = [choice["logprobs"] for event in events for choice in event["choices"] if choice.get("logprobs")]
    deltas = _whole(case)
    assert [delta.logprobs for delta in deltas if delta.logprobs] == sent
    joined = _final(deltas).choices[0].logprobs
    assert joined is not None
    assert joined["content"] == [token for each in sent for token in each["content"]]
    assert len(joined["content"]) == 6
