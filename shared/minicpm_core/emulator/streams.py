"""A streamed answer in a dialect's shape: the chunks, and how they become server-sent events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.replies import Envelope, logprobs_field
from minicpm_core.emulator.tokens import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from minicpm_core.emulator.answers import CallPieces

DONE = "[DONE]"


def events(sent: Envelope, *, done: bool = True) -> Iterator[str]:
    """The data of each event of a stream.

    Args:
        sent: The answer.
        done: Whether to end as the dialect does; `False` leaves out `[DONE]`.
    """
    for chunk in chunks(sent):
        yield json.dumps(chunk, ensure_ascii=False, separators=(",", ":"))
    if sent.dialect.done and done:
        yield DONE


def chunks(sent: Envelope) -> Iterator[dict[str, Any]]:
    """The chunks of a stream. With `n` above 1 the choices take turns."""
    dialect, request = sent.dialect, sent.request
    head = {**sent.head, "object": "chat.completion.chunk"}
    every = request.continuous_usage and request.include_usage and not dialect.usage_in_finish
    deltas = list(_deltas(sent))
    early = _finishes_early(sent)
    written = 0
    for at, (delta, pieces) in enumerate(deltas):
        written += len(pieces)
        beside: dict[str, Any] = {} if at else dict.fromkeys(dialect.first_chunk_nulls)
        if every:
            beside["usage"] = sent.usage(written, min(written, len(sent.answer.reasoning)))
        for index in range(request.n):
            choice = _choice(sent, index, delta, pieces, first=at == 0)
            last = early and at == len(deltas) - 1
            yield {**head, "choices": [_finished(sent, choice) if last else choice], **beside}
    if not early:
        closing: dict[str, Any] = {"usage": sent.usage()} if every or dialect.usage_in_finish else {}
        if not request.include_usage:
            closing |= sent.timings
        ending = {**dialect.every_delta, **dialect.last_delta}
        for index in range(request.n):
            yield {**head, "choices": [_finished(sent, _choice(sent, index, ending))], **closing}
    if request.include_usage and not dialect.usage_in_finish:
        yield {**head, "choices": [], "usage": sent.usage(), **sent.timings}


def _finishes_early(sent: Envelope) -> bool:
    """Whether the last piece carries the finish reason: where the token limit cuts an answer short."""
    return sent.dialect.finish_on_last_piece and sent.answer.finish_reason == "length"


def _choice(
    sent: Envelope, index: int, delta: Mapping[str, Any], pieces: Sequence[str] = (), *, first: bool = False
) -> dict[str, Any]:
    dialect = sent.dialect
    choice: dict[str, Any] = {"index": index, "delta": delta}
    choice |= logprobs_field(sent, pieces if "content" in delta else ())
    if dialect.finish_reason_null:
        choice["finish_reason"] = None
    return choice if first else {**choice, **dict.fromkeys(dialect.chunk_nulls)}


def _finished(sent: Envelope, choice: dict[str, Any]) -> dict[str, Any]:
    choice["finish_reason"] = sent.answer.finish_reason
    if sent.dialect.stop_reason:
        choice["stop_reason"] = sent.answer.stop_reason
    return choice


def _deltas(sent: Envelope) -> Iterator[tuple[Mapping[str, Any], Sequence[str]]]:
    """The deltas of a choice, each with the tokens that it carries."""
    answer, dialect = sent.answer, sent.dialect
    more, thoughts = dialect.every_delta, dialect.reasoning_field
    yield dialect.first_delta, ()
    if answer.reasoning:
        if dialect.stream_reasoning_lead:
            yield {**more, thoughts: dialect.stream_reasoning_lead}, ()
        for piece in answer.reasoning:
            yield {**more, thoughts: piece}, (piece,)
        if dialect.stream_reasoning_end and (answer.text or answer.calls):
            yield {**more, thoughts: dialect.stream_reasoning_end}, ()
    elif dialect.stream_without_thoughts:
        yield {**more, thoughts: dialect.stream_without_thoughts}, ()
    lead = dialect.stream_content_lead if answer.reasoning or dialect.stream_without_thoughts else ""
    for at, piece in enumerate(answer.text):
        yield {**more, "content": piece if at else lead + piece}, (piece,)
    for index, call in enumerate(answer.calls):
        for delta, pieces in _call_deltas(sent, index, call):
            yield {**more, "tool_calls": [delta]}, pieces


def _call_deltas(sent: Envelope, index: int, call: CallPieces) -> Iterator[tuple[dict[str, Any], Sequence[str]]]:
    style = sent.dialect.call_deltas
    opening = call.arguments[: {"whole": None, "brace_first": 1, "name_first": 0}[style]]
    function = {"name": call.name}
    if style != "name_first":
        function["arguments"] = "".join(opening)
    first = {"index": index, "id": sent.call_id(index), "type": "function", "function": function}
    yield first, (*tokens(call.name), *opening)
    for piece in call.arguments[len(opening) :]:
        yield {"index": index, "function": {"arguments": piece}}, (piece,)
