"""Decoding a stream in one go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicpm_core.protocol.reply import ReplyContext
from minicpm_core.protocol.stream import StreamDecoder
from tests.support.server import sse

if TYPE_CHECKING:
    from minicpm_core.types import Choice, Completion, Delta

PLAIN = ReplyContext()
THINKING = ReplyContext(thinking=True, hold=True)


def decode(*payloads: dict[str, Any] | str, context: ReplyContext = PLAIN, done: bool = True) -> list[Delta]:
    """The deltas of a stream of these payloads, and of `[DONE]`."""
    decoder = StreamDecoder({"x-request-id": "req-1"}, context)
    return decoder.feed(sse(*payloads, *(["[DONE]"] if done else []))) + decoder.finish()


def final_of(deltas: list[Delta]) -> Completion:
    """The completion that ends a stream."""
    final = deltas[-1].final
    assert final is not None
    return final


def first_of(deltas: list[Delta]) -> Choice:
    """Its first choice."""
    return final_of(deltas).choices[0]
