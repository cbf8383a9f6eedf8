"""Streamed replies: bytes, cut anywhere, to deltas.

`StreamDecoder.feed` takes what the socket gives and returns deltas; `finish` ends the stream.  Exactly one delta, the
last, carries `final`, the whole completion.  A stream that ends without a finish reason and without `[DONE]` was cut
and raises `StreamInterruptedError`; what was received is on `partial`, there and on every other error.

A server that answers a stream request with a plain JSON body (some do for errors, some for every answer), an HTML page
or nothing is recognised by its first byte, which no event stream has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from minicpm_core.errors import APIError, MalformedReplyError, StreamInterruptedError
from minicpm_core.protocol.failures import error_in_body, request_id_of
from minicpm_core.protocol.reply import (
    ReplyContext,
    choice_extras,
    content_text,
    decode_json,
    malformed,
    parse_completion,
    parse_usage,
    promotes,
    reasoning_text,
    top_extras,
    what_it_is,
)
from minicpm_core.protocol.sse import SSEDecoder
from minicpm_core.protocol.thinking import ThinkingSplitter
from minicpm_core.protocol.toolcalls import ToolCallAssembler
from minicpm_core.types import Choice, Completion, Delta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Mapping

_E = TypeVar("_E", bound=APIError)
_NOT_EVENTS = b"{[<"
_DONE = b"[DONE]"


class _ChoiceState:
    """What has come of one choice."""

    __slots__ = (
        "blanks", "extras", "finish_reason", "held_reasoning", "index", "logprobs", "reasoning", "refusal",
        "splitter", "text", "tools",
    )  # fmt: skip

    def __init__(self, index: int, context: ReplyContext) -> None:
        self.index = index
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.held_reasoning: list[str] = []  # came although thinking was off: perhaps the answer itself
        self.blanks = ""  # white space after a tool call: text only if text follows
        self.splitter = ThinkingSplitter(hold=context.hold, inline=context.inline)
        self.tools = ToolCallAssembler()
        self.finish_reason: str | None = None
        self.logprobs: dict[str, Any] | None = None
        self.refusal = ""
        self.extras: dict[str, Any] = {}

    def choice(self, *, promoted: bool = False) -> Choice:
        return Choice(
            index=self.index,
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            tool_calls=self.tools.calls(),
            finish_reason=self.finish_reason,
            logprobs=self.logprobs,
            refusal=self.refusal or None,
            reasoning_promoted=promoted,
            extras=self.extras,
        )


class StreamDecoder:
    """Decodes one streamed reply.

    Args:
        headers: Response headers with lower-case names.
        context: What reading the reply needs to know of its request.
    """

    def __init__(self, headers: Mapping[str, str], context: ReplyContext) -> None:
        self._headers = headers
        self._context = context
        self._sse = SSEDecoder()
        self._body: list[bytes] | None = None  # collects an answer that is no event stream
        self._received = 0
        self._sniffed = False
        self._states: dict[int, _ChoiceState] = {}
        self._first: dict[str, Any] = {}
        self._extras: dict[str, Any] = {}
        self._usage: Any = None
        self._promoted: set[int] = set()
        self._completion: Completion | None = None

    @property
    def done(self) -> bool:
        """Whether the final delta was given."""
        return self._completion is not None

    @property
    def saw_inline_reasoning(self) -> bool:
        """Whether thoughts came without an opening tag, so that the next stream need not hold text back."""
        return any(state.splitter.saw_lone_close for state in self._states.values())

    @property
    def partial(self) -> Completion:
        """What was received until now."""
        if self._completion is not None:
            return self._completion
        states = [self._states[index] for index in sorted(self._states)]
        choices = tuple(state.choice(promoted=state.index in self._promoted) for state in states)
        return Completion(
            choices=choices or (Choice(),),
            usage=parse_usage(self._usage),
            model=self._first.get("model") or None,
            id=self._first.get("id") or None,
            request_id=request_id_of(self._headers),
            created=self._first.get("created") if isinstance(self._first.get("created"), int) else None,
            extras=top_extras(self._first) | self._extras,
        )

    def feed(self, chunk: bytes) -> list[Delta]:
        """Take the next bytes and give the deltas that they complete.

        Raises:
            APIStatusError: The server reports an error inside the stream.
            MalformedReplyError: What came is no stream of chunks, or more than the cap.
        """
        self._received += len(chunk)
        if self._received > self._context.max_bytes:
            raise self._with_partial(
                MalformedReplyError(
                    f"{self._context.title} sent more than {self._context.max_bytes} bytes. "
                    "Raise max_response_bytes if such an answer is expected."
                )
            )
        if self._body is not None:
            self._body.append(chunk)
            return []
        if not self._sniffed and self._is_no_stream(chunk):
            return []
        deltas: list[Delta] = []
        for event, data in self._sse.feed(chunk):
            self._event(event, data, deltas)
        return deltas

    def finish(self) -> list[Delta]:
        """End the stream: its bytes are over.

        Raises:
            StreamInterruptedError: The answer was not finished.
            MalformedReplyError: There was no answer at all.
        """
        if self._completion is not None:
            return []
        if self._body is not None:
            return self._finish_body(b"".join(self._body))
        deltas: list[Delta] = []
        for event, data in self._sse.flush():
            self._event(event, data, deltas, last=True)
        if self._completion is not None:
            return deltas
        if not self._received:
            raise malformed(200, self._headers, b"", self._context, "an empty body instead of a stream")
        if not self._states or not all(state.finish_reason for state in self._states.values()):
            raise self.interrupted("the connection was closed")
        self._end(deltas)
        return deltas

    def interrupted(self, why: str) -> StreamInterruptedError:
        """The error for a stream that was cut, with what was received."""
        characters = sum(len(piece) for state in self._states.values() for piece in (*state.text, *state.reasoning))
        error = StreamInterruptedError(
            f"The stream from {self._context.title} was cut before the answer ended ({why}); "
            f"{characters} characters had been received, see `partial`.",
            request_id=request_id_of(self._headers),
        )
        return self._with_partial(error)

    def _with_partial(self, error: _E) -> _E:
        error.partial = self.partial
        return error

    def _is_no_stream(self, chunk: bytes) -> bool:
        head = chunk.removeprefix(b"\xef\xbb\xbf").lstrip()
        self._sniffed = bool(head)
        if not head or head[0] not in _NOT_EVENTS:
            return False
        self._body = [chunk]
        return True

    def _finish_body(self, body: bytes) -> list[Delta]:
        completion = parse_completion(200, self._headers, body, self._context)
        self._completion = completion
        deltas: list[Delta] = []
        for choice in completion.choices:
            calls = tuple(
                ToolCallDelta(number, call.id, call.name, call.arguments) for number, call in enumerate(choice.tool_calls)
            )
            if choice.reasoning:
                deltas.append(Delta(reasoning=choice.reasoning, index=choice.index))
            if choice.text or calls or choice.logprobs:
                deltas.append(Delta(choice.text, index=choice.index, tool_calls=calls, logprobs=choice.logprobs))
        deltas.append(Delta(final=completion))
        return deltas

    def _event(self, event: str, data: bytes, deltas: list[Delta], *, last: bool = False) -> None:
        if self._completion is not None:
            return
        if data == _DONE:
            self._end(deltas)
            return
        try:
            chunk = decode_json(data)
        except ValueError:
            if last:
                return  # the beginning of an event whose end was cut off: the caller sees a cut stream
            raise self._with_partial(malformed(200, self._headers, data, self._context, what_it_is(data, {}))) from None
        if not isinstance(chunk, dict):
            raise self._with_partial(malformed(200, self._headers, data, self._context, "JSON that is not an object"))
        self._chunk(cast("dict[str, Any]", chunk), event, deltas)

    def _chunk(self, chunk: dict[str, Any], event: str, deltas: list[Delta]) -> None:
        choices = chunk.get("choices")
        if event == "error" or "error" in chunk or choices is None:
            body = chunk if event != "error" or "error" in chunk else {"error": chunk}
            error = error_in_body(200, self._headers, body, self._context)
            if error is not None:
                raise self._with_partial(error)
        if not self._first:
            self._first = chunk
        usage = chunk.get("usage")
        if usage:
            self._usage = usage
            self._extras |= top_extras(chunk)
        for raw in choices or ():
            index = raw.get("index") or 0
            state = self._states.get(index)
            if state is None:
                state = self._states[index] = _ChoiceState(index, self._context)
            self._delta(state, raw, raw.get("delta") or raw.get("message") or {}, deltas)
            finish_reason = raw.get("finish_reason")
            if finish_reason:
                state.finish_reason = finish_reason
                state.extras |= choice_extras(raw, {})
                self._extras |= top_extras(chunk)

    def _delta(self, state: _ChoiceState, raw: dict[str, Any], message: dict[str, Any], deltas: list[Delta]) -> None:
        logprobs = raw.get("logprobs")
        content = message.get("content")
        if content and len(message) == 1 and not (logprobs or state.tools) and state.splitter.in_text:
            content = content_text(content)
            if state.held_reasoning:
                self._release_reasoning(state, deltas)
            state.text.append(content)
            deltas.append(Delta(content, index=state.index))
            return
        before = len(deltas)
        self._reasoning(state, message, deltas)
        if content:
            reasoning, text = state.splitter.content(content_text(content))
            self._emit(state, reasoning, text, deltas)
        self._tool_pieces(state, message, deltas)
        refusal = message.get("refusal")
        if refusal:
            state.refusal += refusal
        if logprobs:
            _merge_logprobs(state, logprobs)
            if len(deltas) == before:
                deltas.append(Delta(index=state.index))
            deltas[before].logprobs = logprobs

    def _reasoning(self, state: _ChoiceState, message: dict[str, Any], deltas: list[Delta]) -> None:
        piece = reasoning_text(message)
        if not piece:
            return
        reasoning, text = state.splitter.reasoning(piece)
        if text:
            self._emit(state, "", text, deltas)
        if not reasoning:
            return
        if self._context.thinking or state.text or state.tools:
            self._emit(state, reasoning, "", deltas)
        else:
            state.held_reasoning.append(reasoning)

    def _tool_pieces(self, state: _ChoiceState, message: dict[str, Any], deltas: list[Delta]) -> None:
        pieces = message.get("tool_calls")
        if not pieces:
            return
        self._release_reasoning(state, deltas)
        calls = state.tools.feed(pieces)
        deltas.append(Delta(index=state.index, tool_calls=calls))

    def _emit(self, state: _ChoiceState, reasoning: str, text: str, deltas: list[Delta]) -> None:
        if text and state.tools:
            text = state.blanks + text
            state.blanks = text if not text.strip() else ""
            text = "" if state.blanks else text
        if not (reasoning or text):
            return
        if reasoning:
            state.reasoning.append(reasoning)
        if text:
            self._release_reasoning(state, deltas)
            state.text.append(text)
        deltas.append(Delta(text, reasoning, state.index))

    @staticmethod
    def _release_reasoning(state: _ChoiceState, deltas: list[Delta]) -> None:
        """Hand out reasoning that came although thinking was off: other content shows that it is not the answer."""
        if state.held_reasoning:
            reasoning = "".join(state.held_reasoning)
            state.held_reasoning = []
            state.reasoning.append(reasoning)
            deltas.append(Delta(reasoning=reasoning, index=state.index))

    def _end(self, deltas: list[Delta]) -> None:
        """The answer is over: hand out what was held back, then the final delta."""
        if not self._states:
            raise malformed(200, self._headers, b"", self._context, "a stream without any choice")
        for state in self._states.values():
            reasoning, text = state.splitter.finish(truncated=state.finish_reason == "length")
            self._emit(state, reasoning, text, deltas)
            held = "".join(state.held_reasoning)
            if held and promotes(
                thinking=self._context.thinking,
                text="".join(state.text),
                reasoning=held,
                tools=bool(state.tools),
                finish_reason=state.finish_reason,
            ):
                state.held_reasoning = []
                self._promoted.add(state.index)
                state.text.append(held)
                deltas.append(Delta(held, index=state.index))
            self._release_reasoning(state, deltas)
        self._completion = self.partial
        deltas.append(Delta(final=self._completion))


def _merge_logprobs(state: _ChoiceState, logprobs: dict[str, Any]) -> None:
    """Join the lists of the log-probability objects of a stream, as a whole reply has them."""
    if state.logprobs is None:
        state.logprobs = {key: list(value) if isinstance(value, list) else value for key, value in logprobs.items()}  # pyright: ignore[reportUnknownArgumentType]
        return
    for key, value in logprobs.items():
        known = state.logprobs.get(key)
        if isinstance(known, list) and isinstance(value, list):
            known.extend(value)  # pyright: ignore[reportUnknownMemberType]
        else:
            state.logprobs[key] = value


