"""Whatever a server answers, nothing but this library's own errors comes out."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minicpm_core.errors import MiniCPMError
from minicpm_core.protocol.failures import error_for_status, retry_after
from minicpm_core.protocol.reply import ReplyContext, parse_completion, parse_models
from minicpm_core.protocol.stream import StreamDecoder

if TYPE_CHECKING:
    from minicpm_core.types import Completion

_NAMES = (
    "choices", "delta", "message", "content", "reasoning", "reasoning_content", "tool_calls", "function", "name",
    "arguments", "id", "index", "finish_reason", "logprobs", "usage", "prompt_tokens", "completion_tokens",
    "total_tokens", "prompt_tokens_details", "completion_tokens_details", "cached_tokens", "error", "detail", "code",
    "type", "object", "msg", "loc", "refusal", "model", "created", "text", "data", "meta", "owned_by", "n_ctx",
    "n_prompt_tokens", "role",
)  # fmt: skip
_TEXTS = st.one_of(
    st.sampled_from([
        "", " ", "\n", "stop", "length", "tool_calls", "<think>", "</think>", "</thi", "{}", '{"a": 1}', "0", "٣", "²",
        "9" * 5000, "error", "\ud83d", "\ude42", "model 'x' not found", "maximum context length is 99999999999999999",
        "list", "message", "429",
    ]),
    st.text(max_size=8),
)  # fmt: skip
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.just(10**30), st.floats(), st.sampled_from([400, 404, 429]), _TEXTS
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=12,
)


def _object(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object that mostly has the right shape, with any field wrong or missing."""
    return st.fixed_dictionaries({}, optional={name: right | _VALUES for name, right in fields.items()})


_FUNCTION = _object(name=_TEXTS, arguments=_TEXTS)
_CALLS = st.lists(_object(index=st.integers(0, 2), id=_TEXTS, function=_FUNCTION), max_size=3)
_MESSAGE = _object(
    content=_TEXTS, reasoning=_TEXTS, reasoning_content=_TEXTS, tool_calls=_CALLS, refusal=_TEXTS, role=_TEXTS
)
_CHOICE = _object(
    index=st.integers(0, 2), message=_MESSAGE, delta=_MESSAGE, finish_reason=_TEXTS, logprobs=_object(content=_VALUES)
)
_USAGE = _object(prompt_tokens=st.integers(), completion_tokens=st.integers(), total_tokens=st.integers())
_ERROR = _object(message=_TEXTS, code=_SCALARS, type=_TEXTS, detail=_VALUES)
_REPLY = _object(choices=st.lists(_CHOICE, max_size=3), usage=_USAGE, id=_TEXTS, model=_TEXTS, created=st.integers())
_BODY = _REPLY | _object(error=_ERROR, detail=_VALUES, message=_TEXTS, code=_SCALARS, object=_TEXTS) | _VALUES
_PLAIN = ReplyContext()
_CONTEXTS = st.builds(
    ReplyContext,
    thinking=st.booleans(),
    hold=st.booleans(),
    inline=st.booleans(),
    secrets=st.just(("a-secret-key",)),
)


def _check(completion: Completion) -> None:
    """What every completion promises, whatever it was made of."""
    assert completion.choices
    for choice in completion.choices:
        texts = [choice.text, choice.reasoning, choice.refusal or "", choice.finish_reason or ""]
        texts += [text for call in choice.tool_calls for text in (call.id, call.name, call.arguments)]
        assert all(isinstance(text, str) for text in texts)
        assert type(choice.index) is int
        assert choice.logprobs is None or isinstance(choice.logprobs, dict)
        assert all(call.id for call in choice.tool_calls)
        assert len({call.id for call in choice.tool_calls}) == len(choice.tool_calls)
        (choice.text + choice.reasoning).encode()
    usage = completion.usage
    counts = () if usage is None else (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    assert {type(count) for count in counts} <= {int}
    assert completion.model is None or isinstance(completion.model, str)


def _body(value: Any) -> bytes:
    return json.dumps(value).encode()


@settings(max_examples=100)
@given(value=_BODY, context=_CONTEXTS)
@example(value={"choices": "text"}, context=_PLAIN)
@example(value={"choices": [None, [], "x", 1]}, context=_PLAIN)
@example(value={"choices": [{"message": "text"}]}, context=_PLAIN)
@example(value={"choices": [{"message": {"tool_calls": {"a": 1}, "content": {"text": "x"}}}]}, context=_PLAIN)
@example(value={"choices": [{"index": "1"}, {"index": 0}], "usage": [1], "id": 5}, context=_PLAIN)
@example(value={"choices": [{"finish_reason": {"type": "stop"}, "logprobs": "x"}]}, context=_PLAIN)
def test_any_json_as_a_whole_reply(value: Any, context: ReplyContext) -> None:
    with suppress(MiniCPMError):
        _check(parse_completion(200, {}, _body(value), context))


@settings(max_examples=100)
@given(
    values=st.lists(_BODY | st.sampled_from(["[DONE]"]), max_size=6),
    event=st.sampled_from([b"", b"event: error\n", b"event: message\n"]),
    context=_CONTEXTS,
    data=st.data(),
)
@example(values=[{"choices": [{"index": "0", "delta": []}]}], event=b"", context=_PLAIN, data=None)
@example(values=[{"choices": [{"index": {}, "delta": {"tool_calls": "x"}}]}], event=b"", context=_PLAIN, data=None)
@example(values=[{"choices": {"a": 1}}, {"usage": [1]}], event=b"", context=_PLAIN, data=None)
@example(values=[{"error": 5}], event=b"", context=_PLAIN, data=None)
def test_any_json_in_a_stream(
    values: list[Any], event: bytes, context: ReplyContext, data: st.DataObject | None
) -> None:
    """The deltas join to what the last one says, whatever the server wrote."""
    stream = b"".join(
        event + b"data: " + (b"[DONE]" if value == "[DONE]" else _body(value)) + b"\n\n" for value in values
    )
    cut = data.draw(st.integers(0, len(stream))) if data is not None else 0
    decoder = StreamDecoder({}, context)
    try:
        deltas = decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) + decoder.finish()
    except MiniCPMError:
        _check(decoder.partial)
        return
    final = deltas[-1].final
    assert final is not None
    _check(final)
    assert sum(delta.final is not None for delta in deltas) == 1
    for choice in final.choices:
        own = [delta for delta in deltas[:-1] if delta.index == choice.index]
        assert "".join(delta.text for delta in own) == choice.text
        assert "".join(delta.reasoning for delta in own) == choice.reasoning
        pieces = [piece for delta in own for piece in delta.tool_calls]
        for number, call in enumerate(choice.tool_calls):
            assert "".join(piece.arguments for piece in pieces if piece.index == number) == call.arguments
            assert next(piece.id for piece in pieces if piece.index == number) == call.id


@settings(max_examples=100)
@given(value=_BODY, status=st.sampled_from([200, 302, 400, 401, 404, 408, 422, 429, 500, 503, 599]))
@example(value={"error": {"code": "9" * 5000, "message": "x"}}, status=500)
@example(value={"error": {"code": "²", "message": "context size (" + "9" * 5000 + " tokens)"}}, status=400)
@example(value={"detail": [{"loc": 5, "msg": None}, "x"]}, status=422)
@example(value={"detail": {"error": {"message": "nested"}}}, status=400)
def test_any_json_as_an_error(value: Any, status: int) -> None:
    error = error_for_status(status, {}, _body(value), ReplyContext())
    assert str(error)
    assert error.status_code in {status, *range(400, 600)}


@settings(max_examples=50)
@given(body=st.binary(max_size=200), status=st.sampled_from([200, 500]))
def test_any_bytes(body: bytes, status: int) -> None:
    error = error_for_status(status, {}, body, ReplyContext())
    assert str(error)
    with pytest.raises(MiniCPMError):
        parse_completion(200, {}, body, ReplyContext())
    decoder = StreamDecoder({}, ReplyContext())
    with pytest.raises(MiniCPMError):
        _ = decoder.feed(body), decoder.finish()


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'{"choices":[', b"]}")])
@pytest.mark.parametrize("closed", [True, False])
def test_a_body_that_is_nested_beyond_reason(opening: bytes, closing: bytes, closed: bool) -> None:
    body = opening * 100_000 + b"1" + closing * (100_000 if closed else 0)
    with pytest.raises(MiniCPMError):
        parse_completion(200, {}, body, ReplyContext())
    assert error_for_status(500, {}, body, ReplyContext()).status_code == 500
    decoder = StreamDecoder({}, ReplyContext())
    with pytest.raises(MiniCPMError):
        decoder.feed(b"data: " + body + b"\n\n")
    with pytest.raises(ValueError, match="nested"):
        parse_models(body)


@pytest.mark.parametrize("depth", range(850, 1000, 10))
def test_a_value_that_is_just_not_nested_too_deeply_to_be_read(depth: int) -> None:
    """What the parser takes, and what is then written again: an error's object, arguments given as an object."""
    deep = "[" * depth + "]" * depth
    for body in (
        f'{{"error": {{"x": {deep}}}}}',
        f'{{"detail": {deep}}}',
        f'{{"choices": [{{"message": {{"tool_calls": [{{"function": {{"name": "f", "arguments": {deep}}}}}]}}}}]}}',
    ):
        with suppress(MiniCPMError):
            _check(parse_completion(200, {}, body.encode(), ReplyContext()))
        assert error_for_status(400, {}, body.encode(), ReplyContext()).status_code == 400


@settings(max_examples=50)
@given(value=_VALUES)
def test_any_list_of_models(value: Any) -> None:
    for body in (value, {"data": value}, {"data": [value]}):
        for row in parse_models(_body(body)):
            assert isinstance(row.id, str)
            assert row.context_window is None or type(row.context_window) is int


@given(
    value=st.text(max_size=40) | st.from_regex(r"\w{3}, \d\d \w{3} \d{4,6} \d\d:\d\d:\d\d [+-]\d{4,20}", fullmatch=True)
)
@example("inf")
@example("nan")
@example("-5")
@example("Mon, 01 Jan 2026 00:00:00 +99999999999999999999")
def test_any_retry_after(value: str) -> None:
    for name in ("retry-after", "retry-after-ms"):
        seconds = retry_after({name: value})
        assert seconds is None or seconds >= 0
