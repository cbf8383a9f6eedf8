"""A microphone and a loudspeaker, through sounddevice. Needs the extra `[audio]`, and PortAudio on Linux.

The sound card calls from a thread of its own and must not wait: what it hears goes into a bounded queue, which forgets
the oldest where nobody takes it; what it plays is pulled from a `JitterBuffer`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from minicpm_core.errors import ConfigurationError
from minicpm_core.realtime.events import INPUT_RATE, OUTPUT_RATE

if TYPE_CHECKING:
    from types import TracebackType

    from minicpm_core.realtime.jitter import JitterBuffer

BLOCK_SECONDS = 0.1
"""Sound that a callback brings or takes."""


def sounddevice() -> Any:
    """The module, ready to be used.

    Raises:
        ConfigurationError: It is not installed, or PortAudio is not.
    """
    try:
        import sounddevice as found  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise ConfigurationError(
            'A microphone and a loudspeaker need sounddevice: pip install "minicpm-integrations[audio]"'
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"sounddevice cannot be used: {error}. It needs PortAudio, such as Debian's package libportaudio2."
        ) from error
    return found


def check_devices() -> None:
    """Check that there are a microphone and a loudspeaker.

    Raises:
        ConfigurationError: One of them is missing, or what drives them.
    """
    module = sounddevice()
    for kind, name in (("input", "microphone"), ("output", "loudspeaker")):
        try:
            module.query_devices(kind=kind)
        except (ValueError, module.PortAudioError) as error:
            raise ConfigurationError(f"There is no {name}: {error}.") from error


class Microphone:
    """Gives what is heard, as 16-bit PCM at 16 kHz, in pieces of a tenth of a second.

    async with Microphone() as microphone:
        async for piece in microphone:
            await session.send_audio(piece)

    Args:
        device: As sounddevice names it; `None` for the usual one.
        max_pending: Pieces that may wait to be taken; the oldest is forgotten beyond.

    Attributes:
        dropped: Pieces that were forgotten.
    """

    def __init__(self, *, device: int | str | None = None, max_pending: int = 50) -> None:
        self._device = device
        self._pieces: deque[bytes] = deque(maxlen=max_pending)
        self._there = asyncio.Event()
        self._stream: Any = None
        self.dropped = 0

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            ConfigurationError: There is none, or it cannot be opened.
        """
        loop = asyncio.get_running_loop()

        def heard(data: Any, frames: int, times: Any, status: Any) -> None:
            del frames, times, status
            piece = bytes(data)
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._take, piece)

        self._stream = await asyncio.to_thread(
            _opened, "RawInputStream", heard, rate=INPUT_RATE, kind="int16", device=self._device
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await asyncio.to_thread(_closed, self._stream)

    def __aiter__(self) -> Self:
        """Itself."""
        return self

    async def __anext__(self) -> bytes:
        """The next piece."""
        while not self._pieces:
            self._there.clear()
            await self._there.wait()
        return self._pieces.popleft()

    def _take(self, piece: bytes) -> None:
        self.dropped += len(self._pieces) == self._pieces.maxlen
        self._pieces.append(piece)
        self._there.set()


class Speaker:
    """Plays what a jitter buffer holds: float32 at 24 kHz.

    Args:
        buffer: Where the speech of the session is put.
        device: As sounddevice names it; `None` for the usual one.
    """

    def __init__(self, buffer: JitterBuffer, *, device: int | str | None = None) -> None:
        self._buffer = buffer
        self._device = device
        self._stream: Any = None

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            ConfigurationError: There is none, or it cannot be opened.
        """

        def play(data: Any, frames: int, times: Any, status: Any) -> None:
            del times, status
            data[:] = self._buffer.pull(frames)

        self._stream = await asyncio.to_thread(
            _opened, "RawOutputStream", play, rate=OUTPUT_RATE, kind="float32", device=self._device
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, without playing to the end."""
        await asyncio.to_thread(_closed, self._stream)


def _opened(stream: str, callback: Any, *, rate: int, kind: str, device: int | str | None) -> Any:
    module = sounddevice()
    try:
        found = getattr(module, stream)(
            samplerate=rate,
            channels=1,
            dtype=kind,
            blocksize=int(rate * BLOCK_SECONDS),
            device=device,
            callback=callback,
        )
        found.start()
    except (ValueError, module.PortAudioError) as error:
        raise ConfigurationError(f"The sound device cannot be opened: {error}.") from error
    return found


def _closed(stream: Any) -> None:
    stream.abort()
    stream.close()
