"""Realtime sessions on asyncio, as their users see them. What goes on behind is in `engine`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, Unpack

from minicpm_core.errors import APIError, InvalidInputError
from minicpm_core.realtime import frames
from minicpm_core.realtime.audio import UnitMaker
from minicpm_core.realtime.client_events import InputAppend
from minicpm_core.realtime.engine import Engine
from minicpm_core.realtime.errors import SessionStateError
from minicpm_core.realtime.events import INPUT_RATE
from minicpm_core.realtime.questions import Questions
from minicpm_core.realtime.settings import check_silence
from minicpm_core.realtime.turns import turns_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from types import TracebackType

    from minicpm_core.realtime.audio import SampleFormat
    from minicpm_core.realtime.client_events import ChatMessage, QuestionOptions, SessionInit
    from minicpm_core.realtime.events import QueueUpdate, ServerEvent, SessionCreated
    from minicpm_core.realtime.link import Link
    from minicpm_core.realtime.machine import State
    from minicpm_core.realtime.metrics import SessionMetrics
    from minicpm_core.realtime.settings import RealtimeSettings, SessionOptions
    from minicpm_core.realtime.turns import Turn

_UNIT = InputAppend(audio=b"")
"""Any unit, to ask whether one may be sent."""


class RealtimeSession:
    """One session with the model; opened by `async with`, once, and read by one task at a time.

    Iterating over it gives what the server says, `SessionCreated` first, and ends with the session; it raises where
    the session ended badly.
    """

    def __init__(
        self,
        settings: RealtimeSettings,
        link: Callable[[], Link],
        init: SessionInit,
        *,
        options: SessionOptions,
        on_queue: Callable[[QueueUpdate], None] | None,
    ) -> None:
        self._mode = options.mode
        self._units = UnitMaker()
        self._sending = asyncio.Lock()
        self._opened = False
        self._engine = Engine(settings, options, make_link=link, init=init, on_queue=on_queue, rest=self._rest)
        self._questions = Questions(self._engine)

    # --- Its life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Connect, wait in the queue and begin.

        Raises:
            APIError: It did not begin, after the retries.
            SessionStateError: It was opened before.
        """
        if self._opened:
            raise SessionStateError("A session is opened once. Ask the client for another one.")
        self._opened = True
        await self._engine.relay.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye; or just cut the connection, if the task is being cancelled."""
        if kind is not None and not issubclass(kind, Exception):
            await self._engine.relay.abandon()
            return
        try:
            await self.close()
        except APIError:
            if kind is None:
                raise

    async def close(self, reason: str = "user_stop") -> None:
        """End the session. Units that wait to be sent are not sent; events that came can still be taken.

        Args:
            reason: Told to the server.

        Raises:
            APIError: The session had ended badly, and nothing had told so yet; or it did not end in time.
        """
        await self._engine.close(reason)

    # --- What is sent -------------------------------------------------------------------------------------------------

    async def send_audio(
        self,
        audio: Any,
        *,
        format: SampleFormat | None = None,  # noqa: A002 - the word of this trade
        sample_rate: int = INPUT_RATE,
    ) -> None:
        """Send sound, of any length; what does not fill a unit waits for the next. Waits while too many units wait.

        Args:
            audio: Bytes, a numpy array or anything with the buffer protocol, one channel.
            format: What bytes are; `None` for `pcm16`. Arrays say so themselves.
            sample_rate: Samples a second.

        Raises:
            InvalidInputError: It is no sound, or this is a chat, or the session has not begun or was closed.
            APIError: The session has ended badly.
        """
        async with self._sending:
            self._engine.check(_UNIT)
            for unit in self._units.push(audio, format=format, sample_rate=sample_rate):
                await self._engine.put(unit)
            if self._units.begun:
                self._engine.outgoing.begun()

    async def send_frame(self, image: Any) -> None:
        """Show a picture: it goes with the next unit, and a later one takes its place. Prepared in a thread.

        Args:
            image: JPEG or other bytes, a Pillow image, or a numpy array of height, width and 3 colours in uint8.

        Raises:
            InvalidInputError: It is no picture, or the mode is not `video`, or the session has not begun.
            ConfigurationError: Pillow is not installed, and the picture has to be made smaller or another format.
            APIError: The session has ended badly.
        """
        self._engine.check(_UNIT)
        if self._mode != "video":
            raise InvalidInputError(f"Frames are for sessions of mode 'video'; this one is {self._mode!r}.")
        self._engine.outgoing.frame = (await asyncio.to_thread(frames.to_jpeg, image),)

    async def flush(self) -> None:
        """Complete the last unit with silence, and wait until everything is handed to the connection.

        Raises:
            InvalidInputError: The sound ends inside of a sample.
            APIError: The session has ended badly.
        """
        async with self._sending:
            self._engine.check(_UNIT)
            for unit in self._units.flush():
                await self._engine.put(unit)
            await self._engine.outgoing.box.empty()

    async def interrupt(self, *, units: int = 1) -> None:
        """Stop the model: it must listen in the next units, and the rest of what it is saying is dropped.

        A `ResponseInterrupted` takes its place among the events: stop playing there. The server does not know what was
        heard, so the model believes that all it said was.

        Args:
            units: In how many of the next units it must listen.

        Raises:
            APIError: The session has ended badly.
        """
        self._engine.check(_UNIT)
        self._engine.outgoing.forced = max(self._engine.outgoing.forced, units)
        self._engine.incoming.interrupt()

    async def fill_silence(self, seconds: float) -> None:
        """Send silence from now on wherever there is no sound, so that the model goes on: it only does while it hears.

        Args:
            seconds: How much at most, after the last sound or from now on; 0 to stop. A `SilenceEnded` among the
                events tells when it is used up.

        Raises:
            ConfigurationError: It is no number of seconds.
            InvalidInputError: This is a chat, or the session has not begun or was closed.
            APIError: The session has ended badly.
        """
        check_silence(seconds)
        self._engine.check(_UNIT)
        self._engine.outgoing.fill(seconds)

    async def answered(self) -> None:
        """Wait until there is an answer to all that was sent, if only that the model listens; or for the session's end.

        Read the events meanwhile: while too many of them wait to be taken, nothing more is read from the server.

        Raises:
            APIError: The session has ended badly.
        """
        await self._engine.answered()

    # --- Chats --------------------------------------------------------------------------------------------------------

    def chat(
        self, messages: str | ChatMessage | Sequence[ChatMessage], **options: Unpack[QuestionOptions]
    ) -> AsyncGenerator[ServerEvent, None]:
        """Ask, in a session of mode `chat`; the events of the answer, a `ResponseDone` at its end.

        What is left of an answer that is not read to its end is passed over when the next question is asked. Pictures
        and sound are prepared in a thread.

        Args:
            messages: The whole history, the question last; or a question without any.
            **options: Fields of `ChatAppend`, such as `max_new_tokens` or `speak=True`.

        Raises:
            InvalidInputError: It cannot be sent; or, while it is read, another task reads an answer.
            ConfigurationError: A picture or a recording needs a library that is not installed.
            APIError: The session has ended before the answer had.
        """
        return self._questions.stream(messages, options)

    async def ask(
        self, messages: str | ChatMessage | Sequence[ChatMessage], **options: Unpack[QuestionOptions]
    ) -> Turn:
        """Ask, in a session of mode `chat`, and wait for the whole answer. Who asks meanwhile waits for theirs.

        Args:
            messages: As for `chat`.
            **options: As for `chat`. `speak=True` has the answer's sound in `Turn.audio`. With `streaming=False` the
                server sends nothing before all of it, which has to come within the timeout `idle` then.

        Raises:
            InvalidInputError: As for `chat`.
            ConfigurationError: As for `chat`.
            APIError: As for `chat`.
        """
        return await self._questions.whole(messages, options)

    def _rest(self) -> list[bytes]:
        """The unit that was begun, as silence follows it; nothing while somebody is at it."""
        return [] if self._sending.locked() else self._units.complete()

    # --- What comes ---------------------------------------------------------------------------------------------------

    @property
    def created(self) -> SessionCreated | None:
        """What the server said when the session began. Keep its `session_id` to yourself."""
        return self._engine.relay.link.machine.created

    @property
    def speaking(self) -> bool:
        """Whether the model is in the midst of a turn, as far as the server has told."""
        return self._engine.incoming.speaking is not None

    @property
    def metrics(self) -> SessionMetrics:
        """What the session has come to so far: a snapshot, which stays as it is."""
        return self._engine.metrics()

    @property
    def state(self) -> State:
        """What the session is doing."""
        return self._engine.relay.link.machine.state

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> ServerEvent:
        """The next event.

        Raises:
            APIError: The session has ended badly.
        """
        event = await self._engine.next_event()
        if event is None:
            raise StopAsyncIteration
        return event

    def turns(self) -> AsyncGenerator[Turn, None]:
        """What the model says, turn by turn; all else is passed over.

        It ends with the session; and when the silence that was asked for is used up, all is answered, and two seconds
        more have brought nothing: the model goes on only while it hears. A turn that is not over by then is given as
        interrupted. Who sends sound again asks for the turns again.

        Raises:
            APIError: The session has ended badly; the turn that was broken off is given before.
        """
        return turns_of(self._engine.next_event, self._engine.goes_on)
