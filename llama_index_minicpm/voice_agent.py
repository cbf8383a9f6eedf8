"""MiniCPM-o as a voice agent of LlamaIndex's. Needs the extra `[realtime]`.

from llama_index_minicpm.voice_agent import MiniCPMVoiceAgent

async with MiniCPMVoiceAgent(ws_url="ws://localhost:8006") as agent:
    await agent.send(question)
    ...
print(agent.export_messages())
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from llama_index.core.voice_agents import BaseVoiceAgent

from llama_index_minicpm._voice_devices import SoundDeviceVoiceInterface
from llama_index_minicpm._voice_events import MiniCPMVoiceEvent, to_event, to_message
from llama_index_minicpm._voice_interface import QueueVoiceInterface
from llama_index_minicpm._voice_socket import MiniCPMVoiceAgentWebsocket
from minicpm_core.errors import APIError, ConfigurationError, InvalidInputError, UnsupportedFeatureError
from minicpm_core.realtime.errors import SessionStateError
from minicpm_core.realtime.events import INPUT_RATE, AudioDelta, ResponseInterrupted, ServerEvent, SessionReplaced
from minicpm_core.realtime.settings import DEFAULT_REALTIME_URL
from minicpm_core.realtime.turns import TurnCollector

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
    from types import TracebackType

    from llama_index.core.llms import ChatMessage
    from llama_index.core.tools import BaseTool
    from llama_index.core.voice_agents import BaseVoiceAgentInterface

    from minicpm_core.realtime.audio import SampleFormat
    from minicpm_core.realtime.turns import Turn

__all__ = [
    "MiniCPMVoiceAgent",
    "MiniCPMVoiceAgentWebsocket",
    "MiniCPMVoiceEvent",
    "QueueVoiceInterface",
    "SoundDeviceVoiceInterface",
]


class MiniCPMVoiceAgent(BaseVoiceAgent):
    """Talks by way of MiniCPM-o, which hears and speaks at the same time.

    Its messages are the model's turns: one each, of text. There is no transcript of what the model hears. The model
    only goes on while it hears: send silence where nobody speaks.

    Args:
        ws: The connection; made from `ws_url`, `api_key` and `session` if there is none.
        interface: Where sound comes from and goes to: `QueueVoiceInterface`, which needs no device,
            `SoundDeviceVoiceInterface`, or another. What
            its `output` gives is sent, if that is an async iterable; its `receive` gets the model's sound; and its
            `turn_ended`, if there is one, is called after each turn.
        ws_url: Of a gateway.
        api_key: For gateways behind a proxy that asks for one.
        tools: None: the model has none in realtime sessions.
        keep_audio: Whether messages (as an `AudioBlock`) and events hold the model's sound.
        max_events: Events that are remembered; the oldest are forgotten.
        on_message: Called with each turn's message. Until it is done, nothing more of the session is looked at.
        **session: Arguments of `RealtimeClient.session`, such as `mode` and `system_prompt`.

    Raises:
        UnsupportedFeatureError: There are tools.
        ConfigurationError: A setting is impossible.
    """

    def __init__(
        self,
        ws: MiniCPMVoiceAgentWebsocket | None = None,
        interface: BaseVoiceAgentInterface | None = None,
        ws_url: str | None = None,
        api_key: str | None = None,
        tools: Sequence[BaseTool] | None = None,
        *,
        keep_audio: bool = False,
        max_events: int = 10_000,
        on_message: Callable[[ChatMessage], Awaitable[None] | None] | None = None,
        **session: Any,
    ) -> None:
        if tools:
            raise UnsupportedFeatureError(
                "MiniCPM-o calls no tools in realtime sessions. Give its turns to an agent of `MiniCPM`, which does: "
                "see `on_message`."
            )
        if ws is not None and (session or ws_url or api_key):
            raise ConfigurationError("Give either `ws`, or `ws_url`, `api_key` and the session's settings.")
        if max_events < 1:
            raise ConfigurationError("max_events must be 1 or more.")
        self._socket = ws or MiniCPMVoiceAgentWebsocket(ws_url or DEFAULT_REALTIME_URL, api_key=api_key, **session)
        self._sound = interface or QueueVoiceInterface()
        # LlamaIndex's attribute holds the key as text, and nothing here needs it twice.
        super().__init__(ws=self._socket, interface=self._sound, ws_url=self._socket.uri, api_key=None, tools=None)
        self._keep_audio = keep_audio
        self._max_events = max_events
        self._on_message = on_message
        self._turn_ended: Callable[[], None] = getattr(self._sound, "turn_ended", lambda: None)
        self._collector = TurnCollector()
        self._latest: Turn | None = None
        self._listening: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._told = False

    # --- Its life -----------------------------------------------------------------------------------------------------

    async def start(self, *args: Any, **kwargs: Any) -> None:
        """Begin a session, and listen. What was said in an earlier one is remembered.

        Args:
            *args: For the interface's `start`.
            **kwargs: As well.

        Raises:
            SessionStateError: It was started already.
            APIError: The session did not begin.
        """
        if self._listening is not None:
            raise SessionStateError("The agent was started already. Stop it first.")
        await self._socket.aconnect()
        try:
            self._sound.start(*args, **kwargs)
        except BaseException:
            await self._socket.close()
            raise
        self._collector, self._latest, self._failure, self._told = TurnCollector(), None, None, False
        self._listening = asyncio.create_task(self._run(self._socket.events()))

    async def stop(self) -> None:
        """End the session, and forget the tasks. Does nothing if the agent was not started.

        Raises:
            APIError: The session had ended badly, and nothing had told so yet.
        """
        listening, self._listening = self._listening, None
        if listening is None:
            return
        try:
            await self._socket.close()
            await self._finish(listening)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            self._sound.stop()

    async def wait(self) -> None:
        """Wait for the end of the session; it ends by `stop`, or badly.

        Raises:
            APIError: The session has ended badly.
        """
        if self._listening is not None:
            await self._finish(self._listening)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; where something has failed already, that is what is told."""
        try:
            await self.stop()
        except APIError:
            if kind is None:
                raise

    async def _finish(self, listening: asyncio.Task[None]) -> None:
        await asyncio.wait([listening])
        error = None if listening.cancelled() else listening.exception()
        if error is not None and not self._told:
            self._told = True
            raise error

    # --- What is sent -------------------------------------------------------------------------------------------------

    async def send(
        self,
        audio: Any,
        *args: Any,
        format: SampleFormat | None = None,  # noqa: A002 - the word of this trade
        sample_rate: int = INPUT_RATE,
        **kwargs: Any,
    ) -> None:
        """Send sound, past the interface. Waits while too much of it waits to be sent.

        Args:
            audio: Bytes, or an array of samples; one channel.
            *args: None.
            format: What bytes are: `pcm16`, if nothing is said, or `f32`.
            sample_rate: Samples a second.
            **kwargs: None.

        Raises:
            InvalidInputError: It is no sound, or there are other arguments, or no session has begun.
            APIError: The session has ended badly.
        """
        if args or kwargs:
            raise InvalidInputError("`send` takes sound, its `format` and its `sample_rate`.")
        await self._socket.send(audio, format=format, sample_rate=sample_rate)

    async def flush(self) -> None:
        """Complete what was sent with silence to a whole second, and wait until all of it is on its way.

        Raises:
            InvalidInputError: The sound ends inside of a sample, or no session has begun.
            APIError: The session has ended badly.
        """
        await self._socket.session.flush()

    async def send_frame(self, image: Any) -> None:
        """Show the model a picture, in sessions of mode `video`.

        Args:
            image: Bytes, a Pillow image, or a numpy array of height, width and 3 colours.

        Raises:
            InvalidInputError: It is no picture, or the mode is another, or no session has begun.
            APIError: The session has ended badly.
        """
        await self._socket.session.send_frame(image)

    async def interrupt(self) -> None:
        """Stop the model: what waits to be played is dropped, and it must listen in the next second.

        Raises:
            SessionStateError: No session has begun.
            APIError: The session has ended badly.
        """
        self._sound.interrupt()
        await self._socket.session.interrupt()

    # --- What comes ---------------------------------------------------------------------------------------------------

    async def handle_message(self, message: Any, *args: Any, **kwargs: Any) -> None:
        """Play, remember and gather what the server says. Called for each event of the session.

        Args:
            message: A `ServerEvent` of `minicpm_core.realtime`.
            *args: None.
            **kwargs: None.

        Raises:
            InvalidInputError: It is something else.
        """
        if not isinstance(message, ServerEvent) or args or kwargs:
            raise InvalidInputError("`handle_message` takes one event of minicpm_core.realtime.")
        self._remember(to_event(message, keep_audio=self._keep_audio))
        if isinstance(message, AudioDelta):
            waiting = self._sound.receive(message.audio)
            if inspect.isawaitable(waiting):
                await waiting
            if not self._keep_audio:
                message = replace(message, audio=b"")
        turns = self._collector.take(message)
        if isinstance(message, ResponseInterrupted) or (isinstance(message, SessionReplaced) and turns):
            self._sound.interrupt()
        for turn in turns:
            self._turn_ended()
            await self._turn(turn)
        if isinstance(message, SessionReplaced):
            self._latest = None  # the next session may give its turns the same names

    def _remember(self, event: MiniCPMVoiceEvent) -> None:
        self._events.append(event)
        if len(self._events) > self._max_events:
            del self._events[0]

    async def _turn(self, turn: Turn) -> None:
        """Make a message of a turn; sound that comes after the end of one belongs to its message."""
        latest = self._latest
        again = latest is not None and turn.response_id is not None and latest.response_id == turn.response_id
        if latest is not None and again:
            turn = replace(turn, text=latest.text + turn.text, audio=latest.audio + turn.audio)
        self._latest = turn
        message = to_message(turn, keep_audio=self._keep_audio)
        if again:
            self._messages[-1] = message
            return
        self._messages.append(message)
        if self._on_message is not None:
            waiting = self._on_message(message)
            if waiting is not None:
                await waiting

    # --- The tasks ----------------------------------------------------------------------------------------------------

    async def _run(self, events: AsyncIterator[ServerEvent]) -> None:
        """Hand on what the server says; and what the interface gives, in a task that ends with this one."""
        captured: Any = self._sound.output()
        given = hasattr(captured, "__aiter__")
        capturing = asyncio.create_task(self._capture(captured)) if given else None
        try:
            async for event in events:
                await self.handle_message(event)
            if self._failure is not None:
                raise self._failure
        finally:
            if capturing is not None:
                capturing.cancel()
                await asyncio.gather(capturing, return_exceptions=True)
            for turn in self._collector.end():
                await self._turn(turn)

    async def _capture(self, captured: AsyncIterable[Any]) -> None:
        try:
            async with _closing(captured):
                async for audio in captured:
                    await self._socket.send(audio)
        except Exception as error:  # noqa: BLE001 - the other task raises it
            self._failure = error
            with suppress(APIError):
                await self._socket.close()  # which ends the other task


@asynccontextmanager
async def _closing(stream: AsyncIterable[Any]) -> AsyncGenerator[None, None]:
    """Close a stream at the end, if it can be closed: devices are open while it runs."""
    try:
        yield
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
