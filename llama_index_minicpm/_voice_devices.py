"""A voice agent's own microphone and loudspeaker. Needs the extra `[audio]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.voice_agents import BaseVoiceAgentInterface

from minicpm_core.realtime.devices import Microphone, Speaker, check_devices
from minicpm_core.realtime.jitter import JitterBuffer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class SoundDeviceVoiceInterface(BaseVoiceAgentInterface):
    """The microphone and the loudspeaker of this machine, through sounddevice. Use headphones: nothing cancels echoes.

    They are open while the agent runs.

    Args:
        microphone: As sounddevice names it; `None` for the usual one.
        speaker: As well.
    """

    def __init__(self, *, microphone: int | str | None = None, speaker: int | str | None = None) -> None:
        self._devices = microphone, speaker
        self._buffer = JitterBuffer()

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Check that there is something to hear and to speak with.

        Args:
            *args: Not used.
            **kwargs: Not used.

        Raises:
            ConfigurationError: There is not.
        """
        del args, kwargs
        check_devices()
        self._buffer.clear()

    def stop(self) -> None:
        """Fall silent."""
        self._buffer.clear()

    def interrupt(self) -> None:
        """Fall silent."""
        self._buffer.clear()

    def turn_ended(self) -> None:
        """What was taken plays to its end; the next turn begins anew."""
        self._buffer.end()

    async def output(self) -> AsyncGenerator[bytes, None]:
        """What is heard, for as long as the agent runs.

        Raises:
            ConfigurationError: A device cannot be opened.
        """
        microphone, speaker = self._devices
        async with Speaker(self._buffer, device=speaker), Microphone(device=microphone) as heard:
            async for piece in heard:
                yield piece

    def receive(self, data: bytes) -> None:
        """Take a piece of what the model says.

        Args:
            data: Float32, 24 kHz, one channel.
        """
        self._speaker_callback(data)

    def _speaker_callback(self, data: bytes) -> None:
        self._buffer.push(data)

    def _microphone_callback(self, data: Any) -> None:
        """Not called: `Microphone` has a callback of its own."""
