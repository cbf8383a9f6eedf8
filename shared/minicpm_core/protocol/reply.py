"""Whole replies: JSON bytes to a `Completion`.

The rules for reasoning, usage and extras here are also the ones of a stream (`protocol.stream` ends by calling
`build_choice`), so that a streamed and a whole answer of the same words are the same value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import MalformedReplyError
from minicpm_core.protocol.failures import error_in_body, excerpt, request_id_of
from minicpm_core.protocol.fields import extras_of, list_of, number_of, object_of, objects_of, text_of
from minicpm_core.protocol.forced import CallReader, check_called
from minicpm_core.protocol.thinking import split_whole
from minicpm_core.protocol.toolcalls import ToolCallAssembler
from minicpm_core.protocol.tooltext import ToolTextSplitter
from minicpm_core.types import Choice, Completion, ModelInfo, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from minicpm_core.protocol.callbody import TextCall

_TOP_KNOWN = frozenset({"id", "object", "created", "model", "choices", "usage"})
_CHOICE_KNOWN = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})
_MESSAGE_KNOWN = frozenset({"role", "content", "refusal", "tool_calls", "reasoning", "reasoning_content"})

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
        tools: The JSON schema of the parameters of each declared tool, by its name; none where the model has no tools
            to call, so that what looks like a call is text.
        must_call: The tool that must be called, or what else `forced.Settled` says of it.
        call_as_json: The answer was asked for as a JSON object of a call.
    """

    title: str = "The server"
    thinking: bool = False
    hold: bool = False
    inline: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)
    max_bytes: int = 64 * 1024 * 1024
    key_help: str = ""
    model: str = ""
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Any], hash=False, repr=False)
    must_call: str = ""
    call_as_json: bool = False

    def splitter(self) -> ToolTextSplitter | None:
        """What finds the calls in one choice's text; `None` where there are no tools to call."""
        if not self.tools:
            return None
        return CallReader(self.tools) if self.call_as_json else ToolTextSplitter(self.tools)


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
        stripped = text.lstrip("\ufeff \t\r\n")
        if stripped == text:
            raise
        return decode_json(stripped.encode())
    if end != len(text) and text[end:].strip():
        raise ValueError("data after the JSON value")
    return value


def parse_usage(raw: Any) -> Usage | None:
    """Token counts from a `usage` object of any server; `None` where there is none."""
    usage = object_of(raw)
    prompt, completion = number_of(usage.get("prompt_tokens")), number_of(usage.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    cached = number_of(object_of(usage.get("prompt_tokens_details")).get("cached_tokens"))
    reasoning = number_of(object_of(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    if reasoning is None:
        reasoning = number_of(usage.get("reasoning_tokens"))  # SGLang
    total = number_of(usage.get("total_tokens"))
    return Usage(prompt, completion, prompt + completion if total is None else total, cached, reasoning)


def content_text(content: Any) -> str:
    """The text of a content that is null, a string or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(
        part if isinstance(part, str) else text_of(object_of(part).get("text")) or "" for part in list_of(content)
    )


def reasoning_text(message: Mapping[str, Any]) -> str:
    """The reasoning field of a message or a delta, by either of its names."""
    return text_of(message.get("reasoning")) or text_of(message.get("reasoning_content")) or ""


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
    return not thinking and bool(reasoning) and not text.strip() and not tools and finish_reason in {"stop", None}


def parse_completion(status: int, headers: Mapping[str, str], body: bytes, context: ReplyContext) -> Completion:
    """A completion from the bytes of a whole reply.

    Raises:
        MalformedReplyError: The body is empty, HTML, no JSON, or has no choices or no readable message.
        ToolCallError: A tool had to be called and was not, or was called and must not be.
        APIStatusError: The body is an error although the status is 200.
    """
    reply = parse_object(status, headers, body, context)
    error = error_in_body(status, headers, reply, context)
    if error is not None:
        raise error
    rows = objects_of(reply.get("choices"))
    if not rows:
        raise malformed(status, headers, body, context, "an answer without choices")
    if not all(_has_message(row) for row in rows):
        raise malformed(status, headers, body, context, "a choice without a message that can be read")
    choices = [_choice(row, number, context) for number, row in enumerate(rows)]
    completion = Completion(
        choices=tuple(sorted(choices, key=lambda choice: choice.index)),
        usage=parse_usage(reply.get("usage")),
        model=text_of(reply.get("model")),
        id=text_of(reply.get("id")),
        request_id=request_id_of(headers, context.secrets),
        created=number_of(reply.get("created")),
        extras=top_extras(reply),
    )
    check_called(completion, context.must_call, context.title)
    return completion


def _has_message(raw: dict[str, Any]) -> bool:
    """Whether a choice has a message whose content is of a kind that is known: otherwise its answer would be lost."""
    message = raw.get("message")
    return isinstance(message, dict) and isinstance(object_of(message).get("content"), str | list | None)


def _choice(raw: dict[str, Any], number: int, context: ReplyContext) -> Choice:
    message = object_of(raw.get("message"))
    finish_reason = text_of(raw.get("finish_reason"))
    content, thoughts = content_text(message.get("content")), reasoning_text(message)
    reasoning, text = split_whole(content, thoughts, expected=context.thinking, truncated=finish_reason == "length")
    calls = ToolCallAssembler()
    text = take_text_calls(whole_characters(text), calls, context)
    calls.feed_whole(message.get("tool_calls"))
    if calls and not text.strip():
        text = ""  # the line breaks that some templates put before a call
    in_field = reasoning if thoughts else ""
    promoted = promotes(
        thinking=context.thinking, text=text, reasoning=in_field, tools=bool(calls), finish_reason=finish_reason
    )
    if promoted:
        text, reasoning = take_text_calls(whole_characters(reasoning), calls, context), ""
    index = number_of(raw.get("index"))
    return Choice(
        index=number if index is None else index,
        text=text,
        reasoning=whole_characters(reasoning),
        tool_calls=calls.calls(),
        finish_reason=finish_reason,
        logprobs=object_of(raw.get("logprobs")) or None,
        refusal=text_of(message.get("refusal")),
        reasoning_promoted=promoted,
        extras=choice_extras(raw, message),
    )


def take_text_calls(text: str, calls: ToolCallAssembler, context: ReplyContext) -> str:
    """The text without the tool calls in it, which are added to the others."""
    splitter = context.splitter()
    if splitter is None:
        return text
    return told_apart(splitter.feed(text) + splitter.finish(), calls)


def told_apart(events: Iterable[str | TextCall], calls: ToolCallAssembler) -> str:
    """The text among events; the calls are added to the others."""
    text: list[str] = []
    for event in events:
        if isinstance(event, str):
            text.append(event)
        else:
            calls.add(event.name, event.arguments)
    return "".join(text)


def whole_characters(text: str) -> str:
    r"""The text with halves of surrogate pairs joined, or replaced where the other half is missing.

    JSON can hold a half (`\ud83d`), which servers written in JavaScript send where they cut an emoji in two; UTF-8
    cannot, so that such a text could be neither printed nor sent back.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def parse_models(body: bytes) -> list[ModelInfo]:
    """The rows of a `/v1/models` answer; empty where it has none.

    Raises:
        ValueError: The body is no JSON.
    """
    return [
        ModelInfo(
            id=text_of(row.get("id")) or "",
            owned_by=text_of(row.get("owned_by")),
            context_window=_context_window(row),
            raw=row,
        )
        for row in objects_of(object_of(decode_json(body)).get("data"))
    ]


def _context_window(row: dict[str, Any]) -> int | None:
    """What is served (vLLM and SGLang; llama-server), else what the model was made for."""
    meta = object_of(row.get("meta"))
    told = (row.get("max_model_len"), meta.get("n_ctx"), meta.get("n_ctx_train"))
    return next((tokens for value in told if (tokens := number_of(value))), None)


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
    return object_of(reply)


def what_it_is(body: bytes, headers: Mapping[str, str]) -> str:
    """What a body that is no JSON looks like, in words."""
    head = body[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return "an empty body"
    if head.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")) or "html" in headers.get("content-type", ""):
        return "an HTML page, as a proxy or a wrong base_url would"
    if head.startswith((b"data:", b"event:")):
        return "an event stream, which was not asked for"
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
        request_id=request_id_of(headers, context.secrets),
    )
