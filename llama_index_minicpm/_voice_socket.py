"""The connection of a voice agent: a realtime session, in the shape that LlamaIndex gives such things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from llama_index.core.voice_agents import BaseVoiceAgentWebsocket

from minicpm_core.errors import ConfigurationError, UnsupportedFeatureError
from minicpm_core.realtime.client import RealtimeClient
from minicpm_core.realtime.errors import SessionStateError
from minicpm_core.realtime.events import INPUT_RATE
from minicpm_core.realtime.settings import DEFAULT_REALTIME_URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from minicpm_core.realtime.audio import SampleFormat
    from minicpm_core.realtime.events import ServerEvent
    from minicpm_core.realtime.session import RealtimeSession


class MiniCPMVoiceAgentWebsocket(BaseVoiceAgentWebsocket):
    """A realtime session with MiniCPM-o. Making one opens nothing; each `aconnect` begins a session of its own.

    `ws` stays `None`: the connection is the session's.

    Args:
        uri: Of a gateway, such as `ws://localhost:8006`.
        api_key: For gateways behind a proxy that asks for one.
        client: Where sessions are had, instead of `uri` and `api_key`.
        **session: Arguments of `RealtimeClient.session`: `mode` ("audio" or "video"), `system_prompt`, `voice` …

    Raises:
        ConfigurationError: A setting is impossible.
    """

    def __init__(
        self,
        uri: str = DEFAULT_REALTIME_URL,
        *,
        api_key: str | None = None,
        client: RealtimeClient | None = None,
        **session: Any,
    ) -> None:
        super().__init__(uri=uri)
        if session.get("mode") == "chat":
            raise ConfigurationError("Chats without sound are for `MiniCPM`. mode must be 'audio' or 'video' here.")
        self._client = client or RealtimeClient(base_url=uri, api_key=api_key)
        self._settings = session
        self._session: RealtimeSession | None = None
        self._client.session(**session)  # so that an impossible setting is told at once

    def connect(self) -> NoReturn:
        """Not possible.

        Raises:
            UnsupportedFeatureError: Always: use `aconnect`.
        """
        raise UnsupportedFeatureError("A realtime session needs asyncio: await `aconnect()` instead of `connect()`.")

    async def aconnect(self) -> None:
        """Begin a session.

        Raises:
            SessionStateError: One has begun already.
            APIError: It did not begin.
        """
        if self._session is not None:
            raise SessionStateError("A session has begun already. Close it first.")
        session = self._session = self._client.session(**self._settings)
        try:
            await session.__aenter__()
        except BaseException:
            self._session = None
            await session.__aexit__(BaseException, None, None)
            raise

    @property
    def session(self) -> RealtimeSession:
        """The session.

        Raises:
            SessionStateError: None has begun.
        """
        if self._session is None:
            raise SessionStateError("No session has begun. Await `aconnect()`, or the agent's `start()`, first.")
        return self._session

    async def send(
        self,
        data: Any,
        *,
        format: SampleFormat | None = None,  # noqa: A002 - the word of this trade
        sample_rate: int = INPUT_RATE,
    ) -> None:
        """Send sound. Waits while too much of it waits to be sent.

        Args:
            data: Bytes, or an array of samples; one channel.
            format: What bytes are: `pcm16`, if nothing is said, or `f32`.
            sample_rate: Samples a second.

        Raises:
            InvalidInputError: It is no sound, or no session has begun.
            APIError: The session has ended badly.
        """
        await self.session.send_audio(data, format=format, sample_rate=sample_rate)

    def events(self) -> AsyncIterator[ServerEvent]:
        """What the server says, to the end of the session; an `APIError` where it has ended badly.

        Raises:
            SessionStateError: No session has begun.
        """
        return aiter(self.session)

    async def close(self) -> None:
        """End the session, if there is one.

        Raises:
            APIError: It had ended badly, and nothing had told so yet.
        """
        session, self._session = self._session, None
        if session is not None:
            await session.__aexit__(None, None, None)
