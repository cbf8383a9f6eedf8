"""Realtime sessions on asyncio.

Two queues stand between a session and its user, bounded both, and neither drops anything: `send_audio` waits while
`max_pending_units` units wait to be sent; and while nobody takes the events, nothing more is read from the server,
which ends the session at some point. What goes on behind them is in `relay` (its life), `outgoing` and `incoming`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from minicpm_core.errors import APIError, InvalidInputError
from minicpm_core.realtime import frames
from minicpm_core.realtime.audio import UnitMaker
from minicpm_core.realtime.client_events import ChatAppend, InputAppend
from minicpm_core.realtime.clock import comes_within
from minicpm_core.realtime.codec import Codec
from minicpm_core.realtime.errors import SessionStateError
from minicpm_core.realtime.events import INPUT_RATE, OutputDelta, ResponseDone, UnknownEvent
from minicpm_core.realtime.flight import Flight
from minicpm_core.realtime.incoming import Incoming
from minicpm_core.realtime.mailbox import MailboxClosedError
from minicpm_core.realtime.metrics import Meter
from minicpm_core.realtime.outgoing import Outgoing
from minicpm_core.realtime.relay import Relay
from minicpm_core.realtime.settings import check_silence
from minicpm_core.realtime.turns import TurnCollector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    from minicpm_core.realtime.audio import SampleFormat
    from minicpm_core.realtime.client_events import ChatMessage, SessionInit
    from minicpm_core.realtime.events import QueueUpdate, ServerEvent, SessionCreated
    from minicpm_core.realtime.link import Link
    from minicpm_core.realtime.machine import State
    from minicpm_core.realtime.metrics import SessionMetrics
    from minicpm_core.realtime.settings import RealtimeSettings, SessionOptions
    from minicpm_core.realtime.turns import Turn

_UNIT = InputAppend(audio=b"")
"""Any unit, to ask whether one may be sent."""


_AFTERTHOUGHT_SECONDS = 2.0
"""How long after the last silence the rest of an answer may take."""


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
        self._clock = settings.clock
        self._units = UnitMaker()
        self._sending = asyncio.Lock()
        self._opened = False
        self._told: APIError | None = None
        self._meter = Meter(settings.clock)
        self._flight = Flight(keep=options.on_limit == "rollover", bound=settings.max_pending_units)
        self._incoming = Incoming(settings, flight=self._flight, meter=self._meter)
        self._outgoing = Outgoing(
            options,
            bound=settings.max_pending_units,
            clock=settings.clock,
            flight=self._flight,
            meter=self._meter,
            rest=self._rest,
            announce=self._incoming.box.put_now,
        )
        self._relay = Relay(
            settings,
            options,
            make_link=link,
            init=init,
            on_queue=on_queue,
            outgoing=self._outgoing,
            incoming=self._incoming,
            flight=self._flight,
            meter=self._meter,
        )

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
        await self._relay.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye; or just cut the connection, if the task is being cancelled."""
        if kind is not None and not issubclass(kind, Exception):
            await self._relay.abandon()
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
        await self._relay.close(reason)
        error = self._relay.error
        if error is not None and error is not self._told:
            self._told = error
            raise error

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
            self._ready(_UNIT)
            for unit in self._units.push(audio, format=format, sample_rate=sample_rate):
                await self._put(unit)
            if self._units.begun:
                self._outgoing.begun()

    async def send_frame(self, image: Any) -> None:
        """Show a picture: it goes with the next unit, and a later one takes its place. Prepared in a thread.

        Args:
            image: JPEG or other bytes, a Pillow image, or a numpy array of height, width and 3 colours in uint8.

        Raises:
            InvalidInputError: It is no picture, or the mode is not `video`, or the session has not begun.
            ConfigurationError: Pillow is not installed, and the picture has to be made smaller or another format.
            APIError: The session has ended badly.
        """
        self._ready(_UNIT)
        if self._mode != "video":
            raise InvalidInputError(f"Frames are for sessions of mode 'video'; this one is {self._mode!r}.")
        self._outgoing.frame = (await asyncio.to_thread(frames.to_jpeg, image),)

    async def flush(self) -> None:
        """Complete the last unit with silence, and wait until everything is handed to the connection.

        Raises:
            InvalidInputError: The sound ends inside of a sample.
            APIError: The session has ended badly.
        """
        async with self._sending:
            self._ready(_UNIT)
            for unit in self._units.flush():
                await self._put(unit)
            await self._outgoing.box.empty()

    async def interrupt(self, *, units: int = 1) -> None:
        """Stop the model: it must listen in the next units, and the rest of what it is saying is dropped.

        A `ResponseInterrupted` takes its place among the events: stop playing there. The server does not know what was
        heard, so the model believes that all it said was.

        Args:
            units: In how many of the next units it must listen.

        Raises:
            APIError: The session has ended badly.
        """
        self._ready(_UNIT)
        self._outgoing.forced = max(self._outgoing.forced, units)
        self._incoming.interrupt()

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
        self._ready(_UNIT)
        self._outgoing.fill(seconds)

    async def chat(self, messages: Sequence[ChatMessage], **options: Any) -> AsyncIterator[ServerEvent]:
        """Ask, in a session of mode `chat`; the events of the answer, a `ResponseDone` at its end.

        Args:
            messages: The whole history, the question last.
            **options: Fields of `ChatAppend`, such as `streaming=False` or `speak=True`.

        Raises:
            InvalidInputError: It cannot be sent.
            APIError: The session has ended badly.
        """
        question = ChatAppend(messages=tuple(messages), input_id=self._outgoing.name(), **options)
        self._ready(question)
        Codec().encode(question)
        await self._put(question)
        async for event in self:
            if not isinstance(event, OutputDelta | ResponseDone | UnknownEvent):
                continue
            if getattr(event, "input_id", None) in {None, question.input_id}:
                yield event
                if isinstance(event, ResponseDone):
                    return

    async def _put(self, item: bytes | ChatAppend) -> None:
        try:
            await self._outgoing.box.put(item)
        except MailboxClosedError:
            self._ready(_UNIT)
            raise SessionStateError("The session was closed while this waited to be sent.") from None

    def _ready(self, event: InputAppend | ChatAppend) -> None:
        """Raise unless this may be sent, or may wait until another session has taken over."""
        error = self._relay.error
        if error is not None:
            self._told = error
            raise error
        machine = self._relay.link.machine
        if self._relay.changing:
            machine.check_mode(event)
        else:
            machine.check(event)

    def _rest(self) -> list[bytes]:
        """The unit that was begun, as silence follows it; nothing while somebody is at it."""
        return [] if self._sending.locked() else self._units.complete()

    # --- What comes ---------------------------------------------------------------------------------------------------

    @property
    def created(self) -> SessionCreated | None:
        """What the server said when the session began. Keep its `session_id` to yourself."""
        return self._relay.link.machine.created

    @property
    def speaking(self) -> bool:
        """Whether the model is in the midst of a turn, as far as the server has told."""
        return self._incoming.speaking is not None

    @property
    def metrics(self) -> SessionMetrics:
        """What the session has come to so far: a snapshot, which stays as it is."""
        return self._meter.snapshot(
            unanswered=len(self._flight), pending=len(self._outgoing.box), events=len(self._incoming.box)
        )

    @property
    def state(self) -> State:
        """What the session is doing."""
        return self._relay.link.machine.state

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> ServerEvent:
        """The next event.

        Raises:
            APIError: The session has ended badly.
        """
        try:
            return await self._incoming.box.get()
        except MailboxClosedError:
            error = self._relay.error
            if error is not None:
                self._told = error
                raise error from None
            raise StopAsyncIteration from None

    async def _goes_on(self) -> bool:
        """Whether there is an event to come, or may be: not after the silence. Waits no longer than that takes."""
        if not self._outgoing.silent or len(self._flight) or len(self._incoming.box):
            return True
        try:
            return await comes_within(_AFTERTHOUGHT_SECONDS, self._incoming.box.filled(), clock=self._clock) or (
                not self._outgoing.silent
            )
        except MailboxClosedError:
            return True  # the session has ended, and the next event says how

    async def turns(self) -> AsyncIterator[Turn]:
        """What the model says, turn by turn; all else is passed over.

        It ends with the session; and when the silence that was asked for is used up, all is answered, and two seconds
        more have brought nothing: the model goes on only while it hears. A turn that is not over by then is given as
        interrupted. Who sends sound again asks for the turns again.

        Raises:
            APIError: The session has ended badly; the turn that was broken off is given before.
        """
        collector = TurnCollector()
        try:
            while await self._goes_on():
                try:
                    event = await anext(self)
                except StopAsyncIteration:
                    break
                for turn in collector.take(event):
                    yield turn
        except APIError:
            for turn in collector.end():
                yield turn
            raise
        for turn in collector.end():
            yield turn
