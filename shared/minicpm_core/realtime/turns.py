"""What the model said, turn by turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minicpm_core.errors import APIError
from minicpm_core.realtime.events import (
    AudioDelta,
    Listen,
    ResponseDone,
    ResponseInterrupted,
    SessionReplaced,
    TextDelta,
)
from minicpm_core.realtime.samples import f32_to_pcm16

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from minicpm_core.realtime.events import Metrics, ServerEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of the model's.

    Attributes:
        response_id: Its name.
        text: What it said.
        audio: How it sounds: float32 in little-endian order, 24 kHz, one channel. Empty where it did not speak.
        interrupted: Whether it was broken off: by `interrupt`, or by the end of the session or its replacement.
        reason: Why it ended, as the server of a chat says: `turn_end`.
        metrics: What the server of a chat measured.
    """

    response_id: str | None
    text: str
    audio: bytes = field(repr=False)
    interrupted: bool = False
    reason: str | None = None
    metrics: Metrics | None = None

    @property
    def pcm16(self) -> bytes:
        """How it sounds, as 16-bit PCM in little-endian order, kept within ±1."""
        return f32_to_pcm16(self.audio)


class TurnCollector:
    """Gathers events into turns.

    A turn ends when the model listens again, when another one begins, at the end of an answer in a chat session, and
    when it is interrupted. Sound that comes after that is a turn of the same name: nothing is dropped.
    """

    def __init__(self) -> None:
        self._open = False
        self._id: str | None = None
        self._text: list[str] = []
        self._audio: list[bytes] = []

    def take(self, event: ServerEvent) -> list[Turn]:
        """The turns that an event ends: none or one, or two in a chat session."""
        if isinstance(event, TextDelta | AudioDelta):
            ended = self.end(interrupted=False) if self._open and event.response_id != self._id else []
            self._begin(event.response_id)
            if isinstance(event, TextDelta):
                self._text.append(event.text)
            else:
                self._audio.append(event.audio)
            return ended
        if isinstance(event, ResponseDone):
            return self._done(event)
        if isinstance(event, Listen | ResponseInterrupted | SessionReplaced):
            return self.end(interrupted=not isinstance(event, Listen))
        return []

    def end(self, *, interrupted: bool = True) -> list[Turn]:
        """The turn that has begun, if there is one."""
        return self._end(interrupted=interrupted)

    def _end(self, *, interrupted: bool, done: ResponseDone | None = None) -> list[Turn]:
        if not self._open:
            return []
        turn = Turn(
            response_id=self._id,
            text="".join(self._text),
            audio=b"".join(self._audio),
            interrupted=interrupted,
            reason=done.reason if done else None,
            metrics=done.metrics if done else None,
        )
        self._open = False
        self._text, self._audio = [], []
        return [turn]

    def _begin(self, response_id: str | None) -> None:
        self._open, self._id = True, response_id

    def _done(self, event: ResponseDone) -> list[Turn]:
        """The whole answer is said again at its end; what was not streamed is only there."""
        other = event.response_id is not None and event.response_id != self._id
        ended = self.end(interrupted=False) if self._open and other else []
        self._begin(event.response_id if other or not self._open else self._id)
        self._text = [event.text] if event.text else self._text
        self._audio = [event.audio] if event.audio is not None and not self._audio else self._audio
        return ended + self._end(interrupted=False, done=event)


async def turns_of(
    event: Callable[[], Awaitable[ServerEvent | None]], goes_on: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[Turn, None]:
    """The turns of a session. What was not over at the end is given as interrupted, also before an error.

    Args:
        event: Gives the next event; `None` at the end of the session.
        goes_on: Whether to ask for another one.
    """
    collector = TurnCollector()
    failure: APIError | None = None
    try:
        while await goes_on() and (found := await event()) is not None:
            for turn in collector.take(found):
                yield turn
    except APIError as error:
        failure = error
    for turn in collector.end():
        yield turn
    if failure is not None:
        raise failure
