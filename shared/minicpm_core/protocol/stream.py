"""Streamed replies: bytes, cut anywhere, to deltas.

`StreamDecoder.feed` takes what the socket gives and returns deltas; `finish` ends the stream.  Exactly one delta, the
last, carries `final`, the whole completion.  A stream that ends without a finish reason and without `[DONE]` was cut
and raises `StreamInterruptedError`; what was received is on `partial`, there and on every other error.

A server that answers a stream request with a plain JSON body (some do for errors, some for every answer), an HTML page
or nothing is recognised by its first byte, which no event stream has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from minicpm_core.errors import APIError, MalformedReplyError, StreamInterruptedError
from minicpm_core.protocol.choices import ChoiceAssembler
from minicpm_core.protocol.failures import error_in_body, request_id_of
from minicpm_core.protocol.fields import number_of, object_of, text_of
from minicpm_core.protocol.forced import check_called
from minicpm_core.protocol.reply import (
    ReplyContext,
    decode_json,
    malformed,
    parse_completion,
    parse_usage,
    top_extras,
    what_it_is,
)
from minicpm_core.protocol.sse import SSEDecoder
from minicpm_core.types import Choice, Completion, Delta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Mapping

_E = TypeVar("_E", bound=APIError)
_BOM = b"\xef\xbb\xbf"
_NOT_EVENTS = (b"{", b"[", b"<")
_EVENT_LINES = (b"data", b"event", b"id", b"retry", b":")
_DONE = b"[DONE]"
_HEAD = 512
"""Bytes from the beginning of an answer that are kept to tell what it is if it is no stream."""


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
        self._head = b""
        self._sniffed = False  # the first byte that tells was seen
        self._begun = False  # an event was understood
        self._choices: dict[int, ChoiceAssembler] = {}
        self._named: dict[str, Any] = {}  # id, model and created
        self._extras: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._completion: Completion | None = None
        self._failure: APIError | None = None

    @property
    def failed(self) -> bool:
        """Whether the next call raises what is wrong with bytes that were taken: what came before them was given."""
        return self._failure is not None

    @property
    def done(self) -> bool:
        """Whether the final delta was given."""
        return self._completion is not None

    @property
    def saw_inline_reasoning(self) -> bool:
        """Whether thoughts came without an opening tag, so that the next stream need not hold text back."""
        return any(choice.saw_lone_close for choice in self._choices.values())

    @property
    def partial(self) -> Completion:
        """What was received until now."""
        if self._completion is not None:
            return self._completion
        choices = tuple(self._choices[index].choice() for index in sorted(self._choices))
        return Completion(
            choices=choices or (Choice(),),
            usage=parse_usage(self._usage),
            model=self._named.get("model"),
            id=self._named.get("id"),
            request_id=request_id_of(self._headers, self._context.secrets),
            created=self._named.get("created"),
            extras=self._extras,
        )

    def feed(self, chunk: bytes) -> list[Delta]:
        """Take the next bytes and give the deltas that they complete.

        Raises:
            APIStatusError: The server reports an error inside the stream.
            MalformedReplyError: What came is no stream of chunks, or more than the cap.
        """
        if self._failure is not None:
            raise self._failure
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
        if not self._begun:
            chunk = self._sniff(chunk)
        deltas: list[Delta] = []
        try:
            for event, data in self._sse.feed(chunk):
                self._event(event, data, deltas)
        except APIError as error:
            if not deltas:
                raise
            self._failure = error
        return deltas

    def finish(self) -> list[Delta]:
        """End the stream: its bytes are over.

        Raises:
            StreamInterruptedError: The answer was not finished.
            MalformedReplyError: There was no answer at all.
            APIStatusError: The server had reported an error inside the stream.
        """
        if self._failure is not None:
            raise self._failure
        if self._completion is not None:
            return []
        if self._body is not None:
            return self._finish_body(b"".join(self._body))
        deltas: list[Delta] = []
        for event, data in self._sse.flush():
            self._event(event, data, deltas, last=True)
        if self._completion is not None:
            return deltas
        if not (self._begun or _may_be_events(self._head)):
            what = what_it_is(self._head, self._headers)
            raise malformed(200, self._headers, self._head, self._context, f"{what} instead of a stream")
        if not self._choices or not all(choice.finish_reason for choice in self._choices.values()):
            raise self.interrupted("the connection was closed")
        self._end(deltas)
        return deltas

    def interrupted(self, why: str) -> StreamInterruptedError:
        """The error for a stream that was cut, with what was received."""
        characters = sum(len(choice.text) + len(choice.reasoning) for choice in self.partial.choices)
        error = StreamInterruptedError(
            f"The stream from {self._context.title} was cut before the answer ended ({why}); "
            f"{characters} characters had been received, see `partial`.",
            request_id=request_id_of(self._headers, self._context.secrets),
        )
        return self._with_partial(error)

    def _with_partial(self, error: _E) -> _E:
        error.partial = self.partial
        return error

    def _sniff(self, chunk: bytes) -> bytes:
        """What of the beginning may be events: nothing until its first byte that tells was seen."""
        if self._sniffed:
            self._head += chunk[: max(0, _HEAD - len(self._head))]
            return chunk
        self._head += chunk
        head = self._head.removeprefix(_BOM).lstrip()
        if len(self._head) < _HEAD and (not head or _BOM.startswith(self._head)):
            return b""
        self._sniffed = True
        if head.startswith(_NOT_EVENTS):
            self._body = [self._head]
            return b""
        return self._head

    def _finish_body(self, body: bytes) -> list[Delta]:
        completion = parse_completion(200, self._headers, body, self._context)
        self._completion = completion
        deltas: list[Delta] = []
        for choice in completion.choices:
            calls = tuple(
                ToolCallDelta(number, call.id, call.name, call.arguments)
                for number, call in enumerate(choice.tool_calls)
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
            self._no_json(event, data, deltas, last=last)
            return
        if chunk.__class__ is not dict:
            raise self._with_partial(malformed(200, self._headers, data, self._context, "JSON that is not an object"))
        self._chunk(chunk, event, deltas)

    def _no_json(self, event: str, data: bytes, deltas: list[Delta], *, last: bool) -> None:
        stripped = data.strip()
        if event == "error" and stripped:
            self._chunk({"error": stripped.decode("utf-8", "replace")}, event, deltas)
        elif stripped == _DONE:
            self._end(deltas)
        elif stripped and not last:  # the last may be cut off in its middle: then the stream was cut, and that is said
            raise self._with_partial(malformed(200, self._headers, data, self._context, what_it_is(data, {})))

    def _chunk(self, chunk: dict[str, Any], event: str, deltas: list[Delta]) -> None:
        choices: Any = chunk.get("choices")
        if event == "error" or "error" in chunk or choices is None:
            body = chunk if event != "error" or "error" in chunk else {"error": chunk}
            error = error_in_body(200, self._headers, body, self._context)
            if error is not None:
                raise self._with_partial(error)
        if not (self._begun and self._choices):
            self._name(chunk)
        usage = chunk.get("usage")
        if usage and isinstance(usage, dict):
            self._usage = object_of(usage)
            self._extras |= top_extras(chunk)
        if choices and choices.__class__ is list:
            for raw in choices:
                if raw.__class__ is dict and self._choice(raw).take(raw, deltas):
                    self._extras |= top_extras(chunk)

    def _choice(self, raw: dict[str, Any]) -> ChoiceAssembler:
        index: Any = raw.get("index")
        if index.__class__ is not int:
            index = number_of(index) or 0
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = ChoiceAssembler(index, self._context)
        return choice

    def _name(self, chunk: dict[str, Any]) -> None:
        """Take what names the answer; some servers leave it empty in chunks before the first choice."""
        self._begun = True
        told = {
            "id": text_of(chunk.get("id")),
            "model": text_of(chunk.get("model")),
            "created": number_of(chunk.get("created")),
        }
        self._named |= {name: value for name, value in told.items() if value}
        self._extras |= top_extras(chunk)

    def _end(self, deltas: list[Delta]) -> None:
        """The answer is over: hand out what was held back, then the final delta."""
        if not self._choices:
            raise malformed(200, self._headers, self._head, self._context, "a stream without any choice")
        for choice in self._choices.values():
            choice.end(deltas)
        completion = self.partial
        check_called(completion, self._context.must_call, self._context.title)
        self._completion = completion
        deltas.append(Delta(final=self._completion))


def _may_be_events(head: bytes) -> bool:
    """Whether an answer begins as an event stream does, or as the first bytes of one."""
    first = head.removeprefix(_BOM).lstrip()
    return bool(first) and any(first.startswith(name) or name.startswith(first) for name in _EVENT_LINES)
