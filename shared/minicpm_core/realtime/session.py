"""Realtime sessions on asyncio.

A session has two tasks: one sends the units that wait, one takes what the server says. Both queues are bounded, and
neither drops anything: `send_audio` waits while `max_pending_units` units wait to be sent; and while nobody takes the
events, nothing more is read from the server, which ends the session at some point.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Self

from minicpm_core.errors import APIError, InvalidInputError, MalformedReplyError
from minicpm_core.realtime import frames
from minicpm_core.realtime.audio import UnitMaker
from minicpm_core.realtime.client_events import ChatAppend, InputAppend, SessionClose
from minicpm_core.realtime.codec import Codec
from minicpm_core.realtime.errors import RealtimeTimeoutError, SessionStateError
from minicpm_core.realtime.events import (
    INPUT_RATE,
    AudioDelta,
    Listen,
    OutputDelta,
    QueueUpdate,
    ResponseDone,
    ResponseInterrupted,
    ServerEvent,
    SessionCreated,
    TextDelta,
)
from minicpm_core.realtime.machine import State
from minicpm_core.realtime.mailbox import Mailbox, MailboxClosedError
from minicpm_core.realtime.turns import TurnCollector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    from minicpm_core.realtime.audio import SampleFormat
    from minicpm_core.realtime.client_events import ChatMessage, SessionInit
    from minicpm_core.realtime.events import Mode
    from minicpm_core.realtime.link import Link
    from minicpm_core.realtime.settings import RealtimeSettings
    from minicpm_core.realtime.turns import Turn


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
        mode: Mode,
        on_queue: Callable[[QueueUpdate], None] | None,
    ) -> None:
        self._settings = settings
        self._make_link = link
        self._link = link()
        self._init = init
        self._mode = mode
        self._on_queue = on_queue
        self._inbox: Mailbox[ServerEvent] = Mailbox(settings.max_pending_events)
        self._outbox: Mailbox[bytes | ChatAppend] = Mailbox(settings.max_pending_units)
        self._units = UnitMaker()
        self._sending = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._opened = False
        self._ended = asyncio.Event()
        self._idle: asyncio.Timeout | None = None
        self._told: APIError | None = None
        self._frame: tuple[bytes, ...] = ()
        self._forced = 0
        self._count = 0
        self._asked: str | None = None
        self._answered: str | None = None
        self._speaking: str | None = None
        self._stale: str | None = None

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
        for attempt in range(1, self._settings.max_retries + 2):
            try:
                await self._link.open(self._init, self._meanwhile)
            except APIError as error:
                error.attempts = attempt
                if attempt > self._settings.max_retries or not error.retryable:
                    raise
            else:
                break
            await asyncio.sleep(random.uniform(*self._settings.backoff))  # noqa: S311 - no secret
            self._link = self._make_link()
            self._inbox.discard()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye; or just cut the connection, if the task is being cancelled."""
        if kind is not None and not issubclass(kind, Exception):
            await self._abandon()
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
        if not self._tasks:
            return
        try:
            self._outbox.discard()
            self._outbox.close()
            self._inbox.close()
            if self._link.machine.state is State.ACTIVE:
                await self._say_goodbye(SessionClose(reason=reason))
            await asyncio.gather(*self._tasks)
        finally:
            await self._abandon()
        self._raise_if_untold()

    async def _say_goodbye(self, goodbye: SessionClose) -> None:
        timeouts = self._settings.timeouts
        try:
            async with asyncio.timeout(timeouts.close):
                await self._link.send(goodbye)
                await self._ended.wait()
        except TimeoutError:
            self._link.machine.timed_out("close", timeouts.close or 0.0)
            await self._link.cut()
        except APIError as error:  # it broke meanwhile: that is the end, too
            self._link.machine.fail(error)

    async def _abandon(self) -> None:
        """Leave nothing behind: no connection, no task."""
        tasks, self._tasks = self._tasks, []
        self._inbox.close()
        self._outbox.close()
        for task in tasks:
            task.cancel()
        await self._link.cut()
        await asyncio.gather(*tasks, return_exceptions=True)

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
            self._ready(InputAppend(audio=b""))
            for unit in self._units.push(audio, format=format, sample_rate=sample_rate):
                await self._put(unit)

    async def send_frame(self, image: Any) -> None:
        """Show a picture: it goes with the next unit, and a later one takes its place. Prepared in a thread.

        Args:
            image: JPEG or other bytes, a Pillow image, or a numpy array of height, width and 3 colours in uint8.

        Raises:
            InvalidInputError: It is no picture, or the mode is not `video`, or the session has not begun.
            ConfigurationError: Pillow is not installed, and the picture has to be made smaller or another format.
            APIError: The session has ended badly.
        """
        self._ready(InputAppend(audio=b""))
        if self._mode != "video":
            raise InvalidInputError(f"Frames are for sessions of mode 'video'; this one is {self._mode!r}.")
        self._frame = (await asyncio.to_thread(frames.to_jpeg, image),)

    async def flush(self) -> None:
        """Complete the last unit with silence, and wait until everything is handed to the connection.

        Raises:
            InvalidInputError: The sound ends inside of a sample.
            APIError: The session has ended badly.
        """
        async with self._sending:
            self._ready(InputAppend(audio=b""))
            for unit in self._units.flush():
                await self._put(unit)
            await self._outbox.empty()

    async def interrupt(self, *, units: int = 1) -> None:
        """Stop the model: it must listen in the next units, and the rest of what it is saying is dropped.

        A `ResponseInterrupted` takes its place among the events: stop playing there. The server does not know what was
        heard, so the model believes that all it said was.

        Args:
            units: In how many of the next units it must listen.

        Raises:
            APIError: The session has ended badly.
        """
        self._ready(InputAppend(audio=b""))
        self._forced = max(self._forced, units)
        stale = self._speaking
        if stale is not None:
            self._stale, self._speaking = stale, None
            self._inbox.discard(lambda event: _is_speech(event, stale))
            self._inbox.put_now(ResponseInterrupted(response_id=stale))

    async def chat(self, messages: Sequence[ChatMessage], **options: Any) -> AsyncIterator[ServerEvent]:
        """Ask, in a session of mode `chat`; the events of the answer, a `ResponseDone` at its end.

        Args:
            messages: The whole history, the question last.
            **options: Fields of `ChatAppend`, such as `streaming=False` or `speak=True`.

        Raises:
            InvalidInputError: It cannot be sent.
            APIError: The session has ended badly.
        """
        question = ChatAppend(messages=tuple(messages), input_id=self._name(), **options)
        self._ready(question)
        Codec().encode(question)
        await self._put(question)
        async for event in self:
            if getattr(event, "input_id", None) in {None, question.input_id}:
                yield event
                if isinstance(event, ResponseDone):
                    return

    async def _put(self, item: bytes | ChatAppend) -> None:
        try:
            await self._outbox.put(item)
        except MailboxClosedError:
            self._ready(InputAppend(audio=b""))
            raise SessionStateError("The session was closed while this waited to be sent.") from None

    def _ready(self, event: InputAppend | ChatAppend) -> None:
        """Raise unless this may be sent."""
        error = self._link.machine.error
        if error is not None:
            self._told = error
            raise error
        self._link.machine.check(event)

    def _name(self) -> str:
        self._count += 1
        self._asked = f"in_{self._count}"
        return self._asked

    # --- What comes ---------------------------------------------------------------------------------------------------

    @property
    def created(self) -> SessionCreated | None:
        """What the server said when the session began. Keep its `session_id` to yourself."""
        return self._link.machine.created

    @property
    def state(self) -> State:
        """What the session is doing."""
        return self._link.machine.state

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> ServerEvent:
        """The next event.

        Raises:
            APIError: The session has ended badly.
        """
        try:
            return await self._inbox.get()
        except MailboxClosedError:
            error = self._link.machine.error
            if error is not None:
                self._told = error
                raise error from None
            raise StopAsyncIteration from None

    async def turns(self) -> AsyncIterator[Turn]:
        """What the model says, turn by turn; all else is passed over.

        Raises:
            APIError: The session has ended badly; the turn that was broken off is given before.
        """
        collector = TurnCollector()
        try:
            async for event in self:
                for turn in collector.take(event):
                    yield turn
        except APIError:
            for turn in collector.end():
                yield turn
            raise
        for turn in collector.end():
            yield turn

    # --- The two tasks ------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        try:
            while True:
                item = await self._outbox.get()
                self._expect_answer()
                await self._link.send(item if isinstance(item, ChatAppend) else self._append(item))
        except (MailboxClosedError, APIError, SessionStateError):
            return  # the session has ended: who reads it, or sends more, is told why
        finally:
            self._outbox.close()

    def _append(self, unit: bytes) -> InputAppend:
        shown, self._frame = self._frame, ()
        forced = self._forced > 0
        self._forced -= int(forced)
        return InputAppend(audio=unit, video_frames=shown, force_listen=True if forced else None, input_id=self._name())

    async def _read(self) -> None:
        machine = self._link.machine
        try:
            async with asyncio.timeout(None) as self._idle:
                while machine.state is not State.CLOSED:
                    events = await self._link.hear()
                    self._idle.reschedule(None)
                    await self._hand_on(events)
                    if self._answered is not None and self._answered != self._asked:
                        self._expect_answer()  # more was sent since
        except TimeoutError:
            machine.timed_out("idle", self._settings.timeouts.idle or 0.0)
        except APIError as error:
            machine.fail(error)
        finally:
            self._idle = None
            self._ended.set()
            self._inbox.close()
            self._outbox.close()
        silent = isinstance(machine.error, RealtimeTimeoutError | MalformedReplyError)
        await (self._link.cut() if silent else self._link.see_out())

    async def _hand_on(self, events: tuple[ServerEvent, ...]) -> None:
        for event in events:
            if isinstance(event, OutputDelta | ResponseDone):
                self._answered = event.input_id or self._answered
            if self._stale is not None and _is_speech(event, self._stale):
                continue
            if isinstance(event, TextDelta | AudioDelta):
                self._speaking = event.response_id
            elif isinstance(event, Listen | ResponseDone):
                self._speaking = None
            try:
                await self._inbox.put(event)
            except MailboxClosedError:
                continue  # nobody takes anything after `close`

    def _expect_answer(self) -> None:
        idle, seconds = self._idle, self._settings.timeouts.idle
        if idle is not None and seconds is not None and idle.when() is None and not idle.expired():
            idle.reschedule(asyncio.get_running_loop().time() + seconds)

    def _meanwhile(self, event: ServerEvent) -> None:
        """While the session is opened: the place in the queue is told, and the rest is kept."""
        if isinstance(event, QueueUpdate):
            if self._on_queue is not None:
                self._on_queue(event)
        elif len(self._inbox) < self._settings.max_pending_events:
            self._inbox.put_now(event)

    def _raise_if_untold(self) -> None:
        error = self._link.machine.error
        if error is not None and error is not self._told:
            self._told = error
            raise error


def _is_speech(event: ServerEvent, response_id: str) -> bool:
    return isinstance(event, TextDelta | AudioDelta) and event.response_id == response_id
