"""How a stream may fail, and that what was received is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ContextOverflowError,
    InvalidRequestError,
    MalformedReplyError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from minicpm_core.protocol.flow import cut_short
from minicpm_core.protocol.reply import ReplyContext
from minicpm_core.protocol.stream import StreamDecoder
from minicpm_core.types import Completion, Delta
from tests.core.support import PLAIN, THINKING, decode, final_of
from tests.support.server import chunk, completion, sse

_BEGUN = sse(chunk("", role="assistant"), chunk("Hel"), chunk("lo"))


def _error_of(*pieces: bytes, context: ReplyContext = PLAIN, headers: dict[str, str] | None = None) -> APIError:
    decoder = StreamDecoder(headers or {}, context)
    with pytest.raises(APIError) as caught:
        _ = [decoder.feed(piece) for piece in pieces], decoder.finish()
    return caught.value


def _text_of(partial: Completion | None) -> str:
    assert partial is not None
    return partial.text


# --- Cut -------------------------------------------------------------------------------------------------------------


def test_a_stream_that_ends_without_a_reason_was_cut() -> None:
    error = _error_of(_BEGUN, headers={"x-request-id": "req-1"})
    assert type(error) is StreamInterruptedError
    assert _text_of(error.partial) == "Hello"
    assert "5 characters had been received" in error.message
    assert error.request_id == "req-1"
    assert error.retryable
    assert isinstance(error, ConnectionError)


@given(size=st.integers(1, len(_BEGUN)), step=st.integers(1, 50))
def test_wherever_it_was_cut(size: int, step: int) -> None:
    body = _BEGUN[:size]
    error = _error_of(*(body[start : start + step] for start in range(0, size, step)))
    assert type(error) is StreamInterruptedError
    assert "Hello".startswith(_text_of(error.partial))


def test_one_choice_of_two_that_did_not_end_was_cut() -> None:
    two = {"choices": [{"index": n, "delta": {"content": "a"}} for n in (0, 1)]}
    ended = {"choices": [{"index": 1, "finish_reason": "stop"}]}
    assert type(_error_of(sse(two, ended))) is StreamInterruptedError


@pytest.mark.parametrize(
    ("pieces", "reasoning", "text"),
    [
        ([chunk("Let me "), chunk("think.\n")], "Let me think.", ""),
        ([chunk("<think>Let me ")], "Let me ", ""),
        ([chunk("<think>Hm.</think>\n"), chunk("\nYe")], "Hm.", "Ye"),
        ([chunk("<thi")], "", "<thi"),
        ([chunk(reasoning="Hm.\n"), chunk(reasoning="So")], "Hm.\nSo", ""),
    ],
)
def test_what_was_held_back_is_kept_too(pieces: list[dict[str, Any]], reasoning: str, text: str) -> None:
    partial = _error_of(sse(*pieces), context=THINKING).partial
    assert partial is not None
    assert (partial.reasoning, partial.text) == (reasoning, text)


def test_reasoning_that_nobody_asked_for_is_kept_too() -> None:
    partial = _error_of(sse(chunk(reasoning="Hel"), chunk(reasoning="lo"))).partial
    assert partial is not None
    assert partial.reasoning == "Hello"


def test_a_call_that_was_begun_is_kept_too() -> None:
    begun = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"a'}}
    partial = _error_of(sse(chunk(tool_calls=[begun]))).partial
    assert partial is not None
    (call,) = partial.tool_calls
    assert (call.name, call.arguments) == ("f", '{"a')


def test_what_was_received_can_be_asked_for_at_any_time() -> None:
    decoder = StreamDecoder({}, PLAIN)
    assert decoder.partial.text == ""
    assert decoder.partial.usage is None
    decoder.feed(_BEGUN)
    assert decoder.partial.text == "Hello"
    assert decoder.partial.id == "chatcmpl-1"


def test_a_broken_connection_becomes_an_interrupted_stream() -> None:
    decoder = StreamDecoder({}, PLAIN)
    decoder.feed(_BEGUN)
    broken = APIConnectionError("http://x: the connection broke.", sent=True)
    broken.__cause__ = OSError("reset")
    error = cut_short(decoder, broken)
    assert type(error) is StreamInterruptedError
    assert "(http://x: the connection broke.)" in error.message
    assert error.__cause__ is broken.__cause__
    assert _text_of(error.partial) == "Hello"


@pytest.mark.parametrize("kind", [StreamInterruptedError, APITimeoutError, MalformedReplyError, ServerError])
def test_any_other_failure_of_a_stream_stays_what_it_is(kind: type[APIError]) -> None:
    decoder = StreamDecoder({}, PLAIN)
    decoder.feed(_BEGUN)
    failure = kind("What happened.")
    assert cut_short(decoder, failure) is failure
    assert failure.message == "What happened."
    assert _text_of(failure.partial) == "Hello"


# --- Errors inside the stream ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "kind", "says"),
    [
        (b'data: {"error": {"message": "Boom", "type": "server_error", "code": 500}}', ServerError, "Boom"),
        (b'data: {"error": {"message": "Slow down", "code": "429"}}', RateLimitError, "Slow down"),
        (b'data: {"error": "Boom goes it"}', APIStatusError, "Boom goes it"),
        (b'data: {"error": "Unauthorized"}', AuthenticationError, "Unauthorized"),
        (b'data: {"error": ["Boom"]}', APIStatusError, "Boom"),
        (b'data: {"error": {"x": 1}}', APIStatusError, '{"x": 1}'),
        (b'data: {"error": {"message": "Boom"}, "choices": []}', APIStatusError, "Boom"),
        (b'data: {"object": "error", "message": "Boom", "type": "BadRequestError"}', InvalidRequestError, "Boom"),
        (b'data: {"detail": "Boom"}', APIStatusError, "Boom"),
        (b'data: {"message": "Boom"}', APIStatusError, "Boom"),
        (b'event: error\ndata: {"message": "Boom", "code": 503}', ServerError, "Boom"),
        (b'event: error\ndata: {"error": {"message": "Boom"}}', APIStatusError, "Boom"),
        (b"event: error\ndata: Boom goes it", APIStatusError, "Boom goes it"),
        (
            b'data: {"error": {"message": "x", "type": "exceed_context_size_error", "n_ctx": 5, "n_prompt_tokens": 9}}',
            ContextOverflowError,
            "x",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", [b"\n\n", b""])
def test_an_error_in_the_stream_is_raised(event: bytes, kind: type[APIStatusError], says: str, end: bytes) -> None:
    """In every shape, and also where the server closes the connection without a blank line."""
    error = _error_of(_BEGUN, event + end, headers={"x-request-id": "req-1"})
    assert type(error) is kind
    assert isinstance(error, APIStatusError)
    assert says in error.message
    assert _text_of(error.partial) == "Hello"
    assert error.request_id == "req-1"


def test_an_error_that_is_null_or_empty_is_none() -> None:
    empties: list[Any] = [None, {}, [], "", 0]
    chunks = [{**chunk("a"), "error": empty} for empty in empties]
    assert final_of(decode(*chunks)).text == "a" * len(empties)


def test_the_status_of_an_error_in_the_stream_is_the_one_it_gives() -> None:
    told = _error_of(b'data: {"error": {"message": "x", "code": 503}}\n\n')
    silent = _error_of(b'data: {"error": {"message": "x", "code": 7}}\n\n')
    assert isinstance(told, APIStatusError)
    assert isinstance(silent, APIStatusError)
    assert (told.status_code, told.retryable) == (503, True)
    assert (silent.status_code, silent.retryable, silent.code) == (200, False, "7")


@pytest.mark.parametrize(
    "data", [b"{malformed json: <<<chaos>>>", b'{"choices": [', b"Internal Server Error", b"[1]", b"5"]
)
def test_an_event_that_is_no_chunk_is_malformed(data: bytes) -> None:
    error = _error_of(_BEGUN, b"data: " + data + b"\n\n", sse("[DONE]"))
    assert type(error) is MalformedReplyError
    assert data.decode() in error.message
    assert _text_of(error.partial) == "Hello"


def test_an_event_whose_end_is_missing_is_a_cut_stream() -> None:
    assert type(_error_of(_BEGUN, b'data: {"choices": [{"ind')) is StreamInterruptedError


# --- Not a stream ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("front", [b"", b"\xef\xbb\xbf", b"\n ", b"\xef\xbb\xbf\r\n"])
def test_a_whole_reply_in_the_place_of_a_stream_is_read(front: bytes, size: int) -> None:
    """Some servers answer so to every request."""
    call = {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    message = {"content": "Hello.", "reasoning": "Hm.", "tool_calls": [call]}
    body = front + json.dumps(completion(choices=[{"message": message, "finish_reason": "stop"}])).encode()
    decoder = StreamDecoder({}, THINKING)
    deltas = [delta for start in range(0, len(body), size) for delta in decoder.feed(body[start : start + size])]
    assert deltas == []
    deltas = decoder.finish()
    assert deltas[0] == Delta(reasoning="Hm.")
    assert deltas[1].text == "Hello."
    assert deltas[1].tool_calls[0].name == "f"
    assert final_of(deltas).text == "Hello."
    assert decoder.finish() == []


def test_a_whole_reply_that_says_nothing_but_a_refusal_has_no_delta_but_the_last() -> None:
    decoder = StreamDecoder({}, PLAIN)
    assert decoder.feed(b'{"choices": [{"message": {"refusal": "No."}, "finish_reason": "stop"}]}') == []
    (only,) = decoder.finish()
    assert only.final is not None
    assert only.final.choices[0].refusal == "No."


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"", MalformedReplyError, "an empty body"),
        (b"\n\r\n  ", MalformedReplyError, "an empty body"),
        (b"\xef\xbb\xbf", MalformedReplyError, "an empty body"),
        (b"<html><body>Bad gateway</body></html>", MalformedReplyError, "an HTML page"),
        (b"  <!DOCTYPE html>", MalformedReplyError, "an HTML page"),
        (b"Internal Server Error", MalformedReplyError, "not JSON instead of a stream: Internal Server Error"),
        (b'{"choices": [', MalformedReplyError, "JSON that is cut or broken"),
        (b'{"a": 1}\n{"a": 2}', MalformedReplyError, "JSON that is cut or broken"),
        (b'{"choices": []}', MalformedReplyError, "without choices"),
        (b"[1, 2]", MalformedReplyError, "JSON that is not an object"),
        (b'{"error": {"message": "Boom", "code": 500}}', ServerError, "Boom"),
        (b'{"detail": "Boom"}', APIStatusError, "Boom"),
        (b"data: [DONE]\n\n", MalformedReplyError, "a stream without any choice"),
        (b": ping\n\n: ping\n\n", StreamInterruptedError, "the connection was closed"),
        (b'data: {"id": "x", "choices": []}\n\n', StreamInterruptedError, "0 characters"),
        (b"event: ping\ndata:\n\n", StreamInterruptedError, "the connection was closed"),
    ],
)
@pytest.mark.parametrize("size", [1, 10_000])
def test_an_answer_that_is_no_stream_says_what_it_is(body: bytes, kind: type[APIError], says: str, size: int) -> None:
    error = _error_of(*(body[start : start + size] for start in range(0, len(body), size)))
    assert type(error) is kind
    assert says in error.message


# --- The cap ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [sse(*[chunk("x" * 50)] * 20), b'{"a": "' + b"x" * 2000])
def test_an_answer_without_end_is_given_up(body: bytes) -> None:
    decoder = StreamDecoder({}, ReplyContext(max_bytes=1000))
    with pytest.raises(MalformedReplyError, match=r"more than 1000 bytes\. Raise max_response_bytes") as caught:
        _ = [decoder.feed(body[start : start + 100]) for start in range(0, len(body), 100)]
    assert caught.value.partial is not None


def test_an_answer_as_long_as_the_cap_is_read() -> None:
    body = sse(chunk("a"), "[DONE]")
    assert len(StreamDecoder({}, ReplyContext(max_bytes=len(body))).feed(body)) == 2
