"""Whole replies: JSON bytes to a `Completion`.

The rules for reasoning, usage and extras here are also the ones of a stream (`protocol.stream` ends by calling
`build_choice`), so that a streamed and a whole answer of the same words are the same value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from minicpm_core.errors import MalformedReplyError
from minicpm_core.protocol.failures import error_in_body, excerpt, request_id_of
from minicpm_core.protocol.thinking import split_whole
from minicpm_core.protocol.toolcalls import ToolCallAssembler
from minicpm_core.types import Choice, Completion, ModelInfo, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

REASONING_FIELDS = ("reasoning", "reasoning_content")
_TOP_KNOWN = frozenset({"id", "object", "created", "model", "choices", "usage"})
_CHOICE_KNOWN = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})
_MESSAGE_KNOWN = frozenset({"role", "content", "refusal", "tool_calls", "function_call", *REASONING_FIELDS})

_decoder = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class ReplyContext:
    """What reading a reply needs to know of its request.

    Attributes:
        title: The server, as a person would call it.
        thinking: Whether the model was asked to think.
        hold: Thoughts may come in the content without an opening tag.
        inline: They are known to come so.
        secrets: Never to be shown.
        max_bytes: The most decompressed bytes of an answer.
        key_help: Where a key comes from.
        model: What was asked for.
    """

    title: str = "The server"
    thinking: bool = False
    hold: bool = False
    inline: bool = False
    secrets: tuple[str, ...] = ()
    max_bytes: int = 64 * 1024 * 1024
    key_help: str = ""
    model: str = ""


def decode_json(data: bytes) -> Any:
    """A JSON value from bytes.

    Raises:
        ValueError: It is none, or nested beyond reason.
    """
    text = data.decode("utf-8")
    try:
        value, end = _decoder.raw_decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except json.JSONDecodeError:
        stripped = text.removeprefix("\ufeff").lstrip()
        if stripped == text:
            raise
        return decode_json(stripped.encode())
    if end != len(text) and text[end:].strip():
        raise ValueError("data after the JSON value")
    return value


def parse_usage(raw: Any) -> Usage | None:
    """Token counts from a `usage` object of any server; `None` where there is none."""
    if not isinstance(raw, dict):
        return None
    usage = cast("dict[str, Any]", raw)
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    cached = _count((usage.get("prompt_tokens_details") or {}).get("cached_tokens"))
    reasoning = _count((usage.get("completion_tokens_details") or {}).get("reasoning_tokens"))
    if reasoning is None:
        reasoning = _count(usage.get("reasoning_tokens"))  # SGLang
    total = _count(usage.get("total_tokens"))
    return Usage(prompt, completion, prompt + completion if total is None else total, cached, reasoning)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def content_text(content: Any) -> str:
    """The text of a content that is null, a string or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = cast("list[Any]", content)
    return "".join(
        part if isinstance(part, str) else str(part.get("text") or "") for part in parts if isinstance(part, str | dict)
    )


def reasoning_text(message: Mapping[str, Any]) -> str:
    """The reasoning field of a message or a delta, by either of its names."""
    return next((value for name in REASONING_FIELDS if isinstance(value := message.get(name), str) and value), "")


def extras_of(raw: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The fields that have no place of their own and say something."""
    return {key: value for key, value in raw.items() if key not in known and value is not None}


def choice_extras(choice: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any]:
    """What a choice and its message say beyond the fields of `Choice`."""
    return extras_of(choice, _CHOICE_KNOWN) | extras_of(message, _MESSAGE_KNOWN)


def top_extras(reply: Mapping[str, Any]) -> dict[str, Any]:
    """What a reply says beyond the fields of `Completion`."""
    return extras_of(reply, _TOP_KNOWN)


def promotes(*, thinking: bool, text: str, reasoning: str, tools: bool, finish_reason: str | None) -> bool:
    """Whether the reasoning is the answer: thinking was off, the answer ended, and there is nothing else.

    vLLM's Qwen3 parser, for one, takes a whole answer for thoughts where it believes that thinking was on.
    """
    return not thinking and bool(reasoning) and not text and not tools and finish_reason in {"stop", None}


def parse_completion(status: int, headers: Mapping[str, str], body: bytes, context: ReplyContext) -> Completion:
    """A completion from the bytes of a whole reply.

    Raises:
        MalformedReplyError: The body is empty, HTML, no JSON, or has no choices.
        APIStatusError: The body is an error although the status is 200.
    """
    reply = parse_object(status, headers, body, context)
    error = error_in_body(status, headers, reply, context)
    if error is not None:
        raise error
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices:
        raise malformed(status, headers, body, context, "an answer without choices")
    rows = [cast("dict[str, Any]", row) for row in cast("list[Any]", choices) if isinstance(row, dict)]
    return Completion(
        choices=tuple(_choice(row, number, context) for number, row in enumerate(rows)),
        usage=parse_usage(reply.get("usage")),
        model=reply.get("model") or None,
        id=reply.get("id") or None,
        request_id=request_id_of(headers),
        created=_count(reply.get("created")),
        extras=top_extras(reply),
    )


def _choice(raw: dict[str, Any], number: int, context: ReplyContext) -> Choice:
    message: dict[str, Any] = raw.get("message") or {}
    finish_reason: str | None = raw.get("finish_reason") or None
    assembler = ToolCallAssembler()
    assembler.feed([call for call in message.get("tool_calls") or [] if isinstance(call, dict)])
    content, thoughts = content_text(message.get("content")), reasoning_text(message)
    reasoning, text = split_whole(content, thoughts, expected=context.thinking, truncated=finish_reason == "length")
    tools = assembler.calls()
    if tools and not text.strip():
        text = ""  # the line breaks that some templates put before a call
    in_field = reasoning if thoughts else ""
    promoted = promotes(
        thinking=context.thinking, text=text, reasoning=in_field, tools=bool(tools), finish_reason=finish_reason
    )
    return Choice(
        index=_count(raw.get("index")) or (0 if "index" in raw else number),
        text=reasoning if promoted else text,
        reasoning="" if promoted else reasoning,
        tool_calls=tools,
        finish_reason=finish_reason,
        logprobs=raw.get("logprobs") or None,
        refusal=message.get("refusal") or None,
        reasoning_promoted=promoted,
        extras=choice_extras(raw, message),
    )


def parse_models(body: bytes) -> list[ModelInfo]:
    """The rows of a `/v1/models` answer; empty where it has none.

    Raises:
        ValueError: The body is no JSON.
    """
    reply = decode_json(body)
    rows = cast("dict[str, Any]", reply).get("data") if isinstance(reply, dict) else None
    if not isinstance(rows, list):
        return []
    found = [cast("dict[str, Any]", row) for row in cast("list[Any]", rows) if isinstance(row, dict)]
    return [
        ModelInfo(
            id=str(row.get("id", "")),
            owned_by=row.get("owned_by") or None,
            context_window=_count(row.get("max_model_len")) or _count((row.get("meta") or {}).get("n_ctx_train")),
            raw=row,
        )
        for row in found
    ]


def parse_object(status: int, headers: Mapping[str, str], body: bytes, context: ReplyContext) -> dict[str, Any]:
    """A JSON object from a body.

    Raises:
        MalformedReplyError: It is none; the message says what it is instead.
    """
    try:
        reply = decode_json(body)
    except ValueError:
        raise malformed(status, headers, body, context, what_it_is(body, headers)) from None
    if not isinstance(reply, dict):
        raise malformed(status, headers, body, context, "JSON that is not an object")
    return cast("dict[str, Any]", reply)


def what_it_is(body: bytes, headers: Mapping[str, str]) -> str:
    """What a body that is no JSON looks like, in words."""
    head = body[:512].lstrip().lower()
    if not head:
        return "an empty body"
    if head.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")) or "html" in headers.get("content-type", ""):
        return "an HTML page, as a proxy or a wrong base_url would"
    if head.startswith((b"{", b"[")):
        return "JSON that is cut or broken"
    return "something that is not JSON"


def malformed(
    status: int, headers: Mapping[str, str], body: bytes, context: ReplyContext, what: str
) -> MalformedReplyError:
    """The error for an answer that cannot be read."""
    shown = excerpt(body, context.secrets)
    return MalformedReplyError(
        f"{context.title} answered {status} with {what}{': ' + shown if shown else ''}.",
        status_code=status,
        body=shown,
        request_id=request_id_of(headers),
    )
