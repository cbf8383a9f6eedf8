"""A whole answer in a dialect's shape, and what whole and streamed answers share."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minicpm_core.emulator.answers import Answer
    from minicpm_core.emulator.chat import ChatRequest
    from minicpm_core.emulator.dialects import Dialect

FINGERPRINT = "minicpm-emulator"
"""`system_fingerprint` of every answer: a client can tell that no model answered."""


def unique() -> str:
    """Sixteen characters that nothing else has."""
    return uuid.uuid4().hex[:16]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all parts of one answer share.

    Attributes:
        request: The request.
        answer: The answer to it; with `n` above 1, each choice is the same.
        dialect: The dialect.
        id: The answer's id.
        created: Seconds since the epoch.
    """

    request: ChatRequest
    answer: Answer
    dialect: Dialect
    id: str
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def head(self) -> dict[str, Any]:
        """The fields that stand in a whole answer and in each chunk of a stream."""
        return {
            "id": self.id,
            "created": self.created,
            "model": f"{self.request.model}{self.dialect.model_suffix}",
            "system_fingerprint": FINGERPRINT,
        }

    def call_id(self, index: int) -> str:
        """An id for a tool call."""
        return self.dialect.call_id_form.format(id=self.id, index=index, unique=unique())

    def usage(self, completion: int | None = None, reasoning: int | None = None) -> dict[str, Any]:
        """Token counts, of the whole answer or of what was streamed up to now.

        Args:
            completion: Tokens of one choice; `None` is all.
            reasoning: Of them, tokens of thoughts; `None` is all.
        """
        answer, dialect = self.answer, self.dialect
        written = self.request.n * (answer.completion_tokens if completion is None else completion)
        thought = self.request.n * (len(answer.reasoning) if reasoning is None else reasoning)
        usage: dict[str, Any] = {
            "prompt_tokens": answer.prompt_tokens,
            "total_tokens": answer.prompt_tokens + written,
            "completion_tokens": written,
        }
        if dialect.reasoning_tokens:
            usage["completion_tokens_details"] = {"reasoning_tokens": thought}
        if dialect.cached_tokens:
            usage["prompt_tokens_details"] = {"cached_tokens": 0}
        return usage

    @property
    def timings(self) -> dict[str, Any]:
        """llama-server's second count of the tokens, without the times, which would be made up."""
        if not self.dialect.timings:
            return {}
        counted = {"cache_n": 0, "prompt_n": self.answer.prompt_tokens, "predicted_n": self.answer.completion_tokens}
        return {"timings": counted}


def envelope(request: ChatRequest, answer: Answer, dialect: Dialect) -> Envelope:
    """An envelope with an id of its own."""
    return Envelope(request, answer, dialect, dialect.id_form.format(unique=unique()))


def whole(sent: Envelope) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    dialect = sent.dialect
    return {
        **sent.head,
        "object": "chat.completion",
        "choices": [_choice(sent, index) for index in range(sent.request.n)],
        "usage": {**sent.usage(), **dict.fromkeys(dialect.usage_nulls)},
        **sent.timings,
        **dict.fromkeys(dialect.reply_nulls),
    }


def _choice(sent: Envelope, index: int) -> dict[str, Any]:
    answer, dialect = sent.answer, sent.dialect
    choice: dict[str, Any] = {"index": index, "message": _message(sent), "finish_reason": answer.finish_reason}
    choice |= logprobs_field(sent, answer.text)
    if dialect.stop_reason:
        choice["stop_reason"] = answer.stop_reason
    return {**choice, **dict.fromkeys(dialect.choice_nulls)}


def _message(sent: Envelope) -> dict[str, Any]:
    answer, dialect = sent.answer, sent.dialect
    text = "".join(answer.text)
    lead = dialect.content_lead if answer.reasoning and text else ""
    forced = bool(answer.calls) and sent.request.tool_choice in {"named", "required"}
    message: dict[str, Any] = {
        "role": "assistant",
        "content": f"{lead}{text}" or (dialect.no_content_beside_forced_calls if forced else dialect.no_content),
        **dict.fromkeys(dialect.message_nulls),
    }
    if answer.reasoning:
        whole_thoughts = bool(text or answer.calls)
        message[dialect.reasoning_field] = "".join(answer.reasoning) + (dialect.reasoning_end if whole_thoughts else "")
    elif dialect.reasoning_null:
        message[dialect.reasoning_field] = None
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": sent.call_id(index),
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(call.arguments)},
            }
            for index, call in enumerate(answer.calls)
        ]
    return message


def logprobs_field(sent: Envelope, pieces: Sequence[str]) -> dict[str, Any]:
    """The field with the log probabilities of some tokens, if the choice has one.

    A rule is certain, so each is 0, and has itself as the only alternative.
    """
    alternatives = sent.request.top_logprobs
    if alternatives is None or not pieces:
        return {"logprobs": None} if sent.dialect.logprobs_null else {}
    entries = [{"token": piece, "logprob": 0.0, "bytes": list(piece.encode())} for piece in pieces]
    return {"logprobs": {"content": [{**entry, "top_logprobs": [entry][:alternatives]} for entry in entries]}}
