"""The settings of realtime sessions, and where sessions come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicpm_core.realtime.client_events import ChatAppend, ChatMessage, SessionInit
from minicpm_core.realtime.clock import SystemClock
from minicpm_core.realtime.codec import Codec
from minicpm_core.realtime.limits import RealtimeLimits
from minicpm_core.realtime.link import Link
from minicpm_core.realtime.session import RealtimeSession
from minicpm_core.realtime.settings import (
    DEFAULT_REALTIME_URL,
    RealtimeSettings,
    RealtimeTimeouts,
    SessionOptions,
    address,
)
from minicpm_core.secret import Secret

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from minicpm_core.realtime.client_events import Voice
    from minicpm_core.realtime.clock import Clock
    from minicpm_core.realtime.events import Generation, Mode, QueueUpdate
    from minicpm_core.realtime.limits import OnLimit


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
        limits: How long sessions may last and how full the model's memory may be; `None` for the vendor's limits.
        clock: That pacing, silence, limits and metrics go by. `SystemClock(speed=20)` runs a session against a server
            that is as fast, twenty times as fast as sound; timeouts stay real seconds.
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
        limits: RealtimeLimits | None = None,
        clock: Clock | None = None,
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
            limits=limits or RealtimeLimits(),
            clock=clock or SystemClock(),
        )

    def session(
        self,
        *,
        mode: Mode = "audio",
        system_prompt: str | None = None,
        config: Mapping[str, Any] | None = None,
        voice: Voice | None = None,
        max_slice_nums: int | None = None,
        pace: bool = False,
        silence_fill: float = 0.0,
        on_limit: OnLimit = "close",
        on_queue: Callable[[QueueUpdate], None] | None = None,
    ) -> RealtimeSession:
        """A session, to be opened with `async with`.

        Args:
            mode: `audio`, `video` or `chat`.
            system_prompt: What the model is told first. In a chat, give a `system` message instead.
            config: Settings of the duplex decoder, such as `length_penalty`.
            voice: The voice to speak with.
            max_slice_nums: Cut-outs per camera frame.
            pace: Whether units are sent by the second, on a schedule that does not drift: for recordings, which would
                otherwise be sent at once, and answered late. A microphone is its own clock. Whoever is late through
                the network catches up with at most two units in any second.
            silence_fill: Seconds of silence that are sent at most after the last sound: the model only goes on while
                it hears. 0 for none. It begins half a second after the next unit should have come, completes a unit
                that was begun, and ends with a `SilenceEnded`, or when there is sound again; see
                `RealtimeSession.fill_silence`.
            on_limit: Where a limit of `limits` is reached. `close`: the session says goodbye and raises
                `SessionTimeLimitError` or `ContextFullError`. `rollover`: some time before, when the model is silent,
                another session takes its place, which is announced by a `SessionReplaced`: the model has forgotten
                all that was said. Units wait meanwhile; none is lost, and none is answered twice.
            on_queue: Called with the place in the queue while the session is opened.

        Raises:
            ConfigurationError: There is no such mode, or an option is impossible.
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

        options = SessionOptions(mode=mode, pace=pace, silence_fill=silence_fill, on_limit=on_limit)
        return RealtimeSession(self._settings, link, init, options=options, on_queue=on_queue)
