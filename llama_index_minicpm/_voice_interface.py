"""Where a voice agent's sound comes from and goes to, without any device: two bounded queues."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from llama_index.core.voice_agents import BaseVoiceAgentInterface

from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class QueueVoiceInterface(BaseVoiceAgentInterface):
    """Sound is put in by `put` and taken by `heard`: for servers, files and tests. For one event loop.

    Both queues are bounded. `put` waits while the microphone's is full; what the model says takes the place of the
    oldest piece while nobody takes it, which `dropped` counts: an agent whose words alone are wanted must not stall.

    Args:
        max_in: Pieces that may wait to be sent.
        max_out: Pieces of the model's, a second or less each, that may wait to be heard.

    Raises:
        ConfigurationError: A bound is below 1.
    """

    def __init__(self, *, max_in: int = 16, max_out: int = 120) -> None:
        if max_in < 1 or max_out < 1:
            raise ConfigurationError("max_in and max_out must be 1 or more.")
        self._microphone: asyncio.Queue[Any] = asyncio.Queue(max_in)
        self._speaker: asyncio.Queue[bytes | None] = asyncio.Queue(max_out)
        self.dropped = 0

    # --- For who uses it ----------------------------------------------------------------------------------------------

    async def put(self, audio: Any) -> None:
        """Give the model something to hear.

        Args:
            audio: Bytes of 16-bit PCM at 16 kHz, or an array of samples.
        """
        await self._microphone.put(audio)

    async def heard(self) -> AsyncGenerator[bytes, None]:
        """What the model says, piece by piece: float32, 24 kHz, one channel. Ends when the agent is stopped."""
        while (audio := await self._speaker.get()) is not None:
            yield audio

    # --- For the agent ------------------------------------------------------------------------------------------------

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Forget what an earlier session left.

        Args:
            *args: Not used.
            **kwargs: Not used.
        """
        del args, kwargs
        _empty(self._microphone)
        _empty(self._speaker)
        self.dropped = 0

    def stop(self) -> None:
        """End what is heard; what waits can be taken still."""
        _push(self._speaker, None)

    def interrupt(self) -> None:
        """Drop what waits to be heard."""
        _empty(self._speaker)

    async def output(self) -> AsyncGenerator[Any, None]:
        """What was put in, for as long as the agent runs."""
        while True:
            yield await self._microphone.get()

    def receive(self, data: bytes) -> None:
        """Take a piece of what the model says.

        Args:
            data: Float32, 24 kHz, one channel.
        """
        self._speaker_callback(data)

    def _speaker_callback(self, data: bytes) -> None:
        self.dropped += _push(self._speaker, data)

    def _microphone_callback(self, data: Any) -> None:
        _push(self._microphone, data)


def _push(queue: asyncio.Queue[Any], item: Any) -> int:
    """Put something in at once; what has waited longest makes room. Gives how many did."""
    dropped = 0
    while queue.full():
        queue.get_nowait()
        dropped += 1
    queue.put_nowait(item)
    return dropped


def _empty(queue: asyncio.Queue[Any]) -> None:
    while not queue.empty():
        queue.get_nowait()
