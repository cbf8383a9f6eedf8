"""The settings of realtime sessions, and where sessions come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicpm_core.realtime.client_events import ChatAppend, ChatMessage, SessionInit
from minicpm_core.realtime.codec import Codec
from minicpm_core.realtime.link import Link
from minicpm_core.realtime.session import RealtimeSession
from minicpm_core.realtime.settings import DEFAULT_REALTIME_URL, RealtimeSettings, RealtimeTimeouts, address
from minicpm_core.secret import Secret

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from minicpm_core.realtime.client_events import Voice
    from minicpm_core.realtime.events import Generation, Mode, QueueUpdate


class RealtimeClient:
    """Begins realtime sessions. Making one opens nothing.

    Args:
        base_url: Of a gateway, such as `ws://localhost:8006`.
        api_key: Sent as a bearer token, for gateways behind a proxy that asks for one. The vendor's takes none, and no
            environment variable is read: the key of the HTTP API belongs to another host.
        generation: Of the protocol: 2, or 1 for gateways of spring 2026.
        timeouts: Seconds for each step.
        max_retries: Further tries where a session does not begin, for reasons that may pass. A session that has begun
            is never begun again: what the model knew would be lost without a word.
        backoff: The shortest and the longest wait between tries, in seconds.
        max_pending_units: Units that may wait to be sent.
        max_pending_events: Events that may wait to be taken.
        max_message_bytes: The longest message that is taken from a server.
        ssl_context: For wss, such as one that trusts a self-signed certificate.

    Raises:
        ConfigurationError: A setting is impossible.
    """

    def __init__(
        self,
        *,
        base_url: str = DEFAULT_REALTIME_URL,
        api_key: str | Secret | None = None,
        generation: Generation = 2,
        timeouts: RealtimeTimeouts | None = None,
        max_retries: int = 2,
        backoff: tuple[float, float] = (0.5, 2.0),
        max_pending_units: int = 8,
        max_pending_events: int = 256,
        max_message_bytes: int = 16 * 1024 * 1024,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        Codec(generation=generation)
        self._generation: Generation = generation
        self._ssl_context = ssl_context
        self._settings = RealtimeSettings(
            base_url=base_url,
            api_key=Secret(api_key) if isinstance(api_key, str) else api_key,
            timeouts=timeouts or RealtimeTimeouts(),
            max_retries=max_retries,
            backoff=backoff,
            max_pending_units=max_pending_units,
            max_pending_events=max_pending_events,
            max_message_bytes=max_message_bytes,
        )

    def session(
        self,
        *,
        mode: Mode = "audio",
        system_prompt: str | None = None,
        config: Mapping[str, Any] | None = None,
        voice: Voice | None = None,
        max_slice_nums: int | None = None,
        on_queue: Callable[[QueueUpdate], None] | None = None,
    ) -> RealtimeSession:
        """A session, to be opened with `async with`.

        Args:
            mode: `audio`, `video` or `chat`.
            system_prompt: What the model is told first. In a chat, give a `system` message instead.
            config: Settings of the duplex decoder, such as `length_penalty`.
            voice: The voice to speak with.
            max_slice_nums: Cut-outs per camera frame.
            on_queue: Called with the place in the queue while the session is opened.

        Raises:
            ConfigurationError: There is no such mode.
            InvalidInputError: A setting cannot be sent.
            UnsupportedFeatureError: The generation has no such thing.
        """
        address(self._settings.base_url, mode)
        init = SessionInit(system_prompt=system_prompt, config=config, voice=voice, max_slice_nums=max_slice_nums)
        codec = Codec(generation=self._generation)
        codec.encode(init)
        if mode == "chat":
            codec.encode(ChatAppend(messages=[ChatMessage("user", "")]))  # the first generation has none

        def link() -> Link:
            return Link(self._settings, mode=mode, generation=self._generation, ssl_context=self._ssl_context)

        return RealtimeSession(self._settings, link, init, mode=mode, on_queue=on_queue)
