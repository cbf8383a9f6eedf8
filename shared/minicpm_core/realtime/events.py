"""What a server says in a realtime session, as frozen values that know no wire format and no I/O.

The names are those of the second generation of the protocol; the codec reads and writes the first one into the same
events. Audio is raw float32 in little-endian order, one channel: 16,000 samples a second in, 24,000 out.

Fields that this version does not know are kept in `extra`, and events that it does not know arrive as `UnknownEvent`:
servers are allowed to add both. Audio and session ids are left out of every `repr`; on self-hosted gateways, whoever
has a session id has the recording.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from minicpm_core.realtime.samples import f32_to_pcm16

if TYPE_CHECKING:
    from collections.abc import Mapping

INPUT_RATE = 16_000
"""Samples a second that the model hears."""

OUTPUT_RATE = 24_000
"""Samples a second that the model speaks."""

UNIT_SAMPLES = 16_000
"""Samples of one unit: the model takes sound by the second, and decides once a unit whether it listens or speaks."""

Mode: TypeAlias = Literal["audio", "video", "chat"]
"""`audio` and `video` are full duplex; `chat` takes turns."""

Generation: TypeAlias = Literal[1, 2]
"""Of the protocol: 2 is what the vendor runs, 1 is that of gateways of spring 2026."""


def _nothing() -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What a server measured. Any of it may be missing.

    Attributes:
        kv_cache_length: Tokens in the model's memory, of 8192.
        prefill_ms, generate_ms, wall_clock_ms, cost_llm_ms, cost_tts_prep_ms, cost_tts_ms, cost_token2wav_ms:
            Milliseconds that a step took.
        n_tokens, n_tts_tokens: Tokens made.
        vision_slices, vision_tokens: What the camera's frames came to.
        backend: What answered.
        extra: Whatever else came.
    """

    kv_cache_length: int | None = None
    prefill_ms: float | None = None
    generate_ms: float | None = None
    wall_clock_ms: float | None = None
    cost_llm_ms: float | None = None
    cost_tts_prep_ms: float | None = None
    cost_tts_ms: float | None = None
    cost_token2wav_ms: float | None = None
    n_tokens: int | None = None
    n_tts_tokens: int | None = None
    vision_slices: int | None = None
    vision_tokens: int | None = None
    backend: str | None = None
    extra: Mapping[str, Any] = field(default_factory=_nothing, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeUsage:
    """Tokens used.

    Attributes:
        total_tokens, input_tokens, output_tokens: In all, heard and seen, and said.
        input_token_details: By kind: `text_tokens`, `audio_tokens`, `vision_tokens`.
        output_token_details: By kind: `text_tokens`, `audio_tokens`.
        extra: Whatever else came.
    """

    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: Mapping[str, Any] = field(default_factory=_nothing, hash=False)
    output_token_details: Mapping[str, Any] = field(default_factory=_nothing, hash=False)
    extra: Mapping[str, Any] = field(default_factory=_nothing, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEvent:
    """Anything that a server says.

    Attributes:
        extra: Fields that this version does not know, or that are of another type than they should be.
    """

    extra: Mapping[str, Any] = field(default_factory=_nothing, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueUpdate(ServerEvent):
    """The place in the queue, told every few seconds.

    Attributes:
        position: 1 for the next.
        estimated_wait_s: Seconds; 0 also where no worker is there at all.
        queue_length: How many are waiting.
    """

    position: int | None = None
    estimated_wait_s: float | None = None
    queue_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionQueued(QueueUpdate):
    """All workers are busy: the session waits.

    Attributes:
        ticket_id: The place's name, by which the gateway's other addresses know it.
    """

    ticket_id: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDone(ServerEvent):
    """A worker is there. Comes also where nothing was waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCreated(ServerEvent):
    """The session is open.

    Attributes:
        session_id: Its name. Keep it to yourself: it opens the recording.
        mode: `full_duplex` or `turn_based`.
        metrics: What was measured.
        usage: What the system prompt and the voice took.
        prompt_length: Tokens of the prompt, in the first generation.
        server_send_ts: Unix time in seconds.
    """

    session_id: str | None = field(default=None, repr=False)
    mode: str | None = None
    metrics: Metrics | None = None
    usage: RealtimeUsage | None = None
    prompt_length: int | None = None
    server_send_ts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDelta(ServerEvent):
    """What one unit came to: `Listen`, or a `TextDelta`, an `AudioDelta` or both.

    Attributes:
        session_id: Of the session.
        response_id: Of the turn. In the first generation, which has none, the codec counts.
        input_id: Of the unit that caused it, where one was given.
        metrics: What was measured.
        chunk_index: The unit's number, in its first delta.
        chunk_usage: Tokens of the unit, in its first delta.
        usage: Tokens of the session so far, in a unit's first delta.
        server_send_ts: Unix time in seconds.
    """

    session_id: str | None = field(default=None, repr=False)
    response_id: str | None = None
    input_id: str | None = None
    metrics: Metrics | None = None
    chunk_index: int | None = None
    chunk_usage: RealtimeUsage | None = None
    usage: RealtimeUsage | None = None
    server_send_ts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen(OutputDelta):
    """The model listens. With a `response_id`, that turn has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta(OutputDelta):
    """A piece of what the model says, some tenths of a second ahead of its sound.

    Attributes:
        text: The piece.
    """

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDelta(OutputDelta):
    """A piece of the model's speech, a second or less.

    Attributes:
        audio: Float32 in little-endian order, 24 kHz, one channel. May go slightly beyond ±1.
    """

    audio: bytes = field(repr=False)

    @property
    def pcm16(self) -> bytes:
        """The same as 16-bit PCM in little-endian order, kept within ±1."""
        return f32_to_pcm16(self.audio)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseDone(ServerEvent):
    """The end of an answer in a chat session.

    Attributes:
        text: The whole answer.
        audio: The whole speech, where it was asked for and not streamed: as in `AudioDelta`.
        reason: `turn_end`.
        session_id: Of the session.
        response_id: Of the answer.
        input_id: Of the question.
        metrics: What was measured.
        server_send_ts: Unix time in seconds.
    """

    text: str = ""
    audio: bytes | None = field(default=None, repr=False)
    reason: str | None = None
    session_id: str | None = field(default=None, repr=False)
    response_id: str | None = None
    input_id: str | None = None
    metrics: Metrics | None = None
    server_send_ts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClosed(ServerEvent):
    """The session has ended.

    Attributes:
        reason: The client's own, or why the server ended it: `timeout`, `backend_error`, `context_full` …
        diagnostic: What the server says about an error.
        session_id: Of the session; missing at the time limit.
        usage: Tokens of the whole session.
        server_send_ts: Unix time in seconds.
    """

    reason: str | None = None
    diagnostic: str | None = None
    session_id: str | None = field(default=None, repr=False)
    usage: RealtimeUsage | None = None
    server_send_ts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvent(ServerEvent):
    """Something went wrong. The second generation ends the session with it, the first one goes on.

    Attributes:
        code: Such as `queue_full`.
        message: In words.
        kind: `client_error` or `server_error`.
    """

    code: str = ""
    message: str = ""
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent(ServerEvent):
    """An event that this version does not know. `extra` has all its fields.

    Attributes:
        type: What the server calls it; an output of an unknown kind is `response.output.delta/` and the kind.
    """

    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseInterrupted(ServerEvent):
    """The session's own, not a server's: `interrupt` was called, and the rest of this turn is dropped. Stop playing.

    Attributes:
        response_id: Of the turn.
    """

    response_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReplaced(ServerEvent):
    """The session's own: a limit was near, and another session takes over. The model has forgotten all that was said.

    Every unit is answered in one of the two. What the model was saying, if it was, is broken off: stop playing there.

    Attributes:
        reason: `time_limit` or `context_full`.
        number: 1 for the first time.
        lasted_s: Seconds that the session before lasted.
    """

    reason: Literal["time_limit", "context_full"]
    number: int
    lasted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextShrunk(ServerEvent):
    """The session's own: the model's memory holds less than before. It has forgotten the oldest part.

    Attributes:
        forgotten_tokens: How much less.
        kv_cache_length: What is left.
    """

    forgotten_tokens: int
    kv_cache_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceEnded(ServerEvent):
    """The session's own: all the silence that was wanted has been sent. The model only goes on once sound is sent.

    Attributes:
        seconds: How much of it was sent since the last sound.
    """

    seconds: float
