"""Barge-in: noticing that somebody speaks while the model does. Pure: it is given sound, and says when to interrupt.

It goes by loudness alone. Where the microphone hears the loudspeaker, the model would interrupt itself: use headphones
or a microphone with echo cancellation, or a higher level.

    barge_in = BargeIn()
    async for sound in microphone:
        if barge_in.hear(sound, playing=buffer.playing):
            buffer.clear()
            await session.interrupt()
        await session.send_audio(sound)
"""

from __future__ import annotations

from operator import mul
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import ConfigurationError
from minicpm_core.realtime.audio import as_floats
from minicpm_core.realtime.events import INPUT_RATE

if TYPE_CHECKING:
    from array import array

    from minicpm_core.realtime.audio import SampleFormat

_WINDOW_SECONDS = 0.02


class BargeIn:
    """Tells the moment when somebody begins to speak over the model.

    Args:
        level_dbfs: How loud speech is, as the root mean square of 20 ms in decibels below full scale.
        hold_s: Seconds that it must be as loud without a break, so that a cough or a click does not count.
        release_s: Seconds of quiet after which the next word counts as a new beginning.

    Raises:
        ConfigurationError: `level_dbfs` is above 0, or a time is negative.
    """

    def __init__(self, *, level_dbfs: float = -35.0, hold_s: float = 0.2, release_s: float = 0.5) -> None:
        if level_dbfs > 0 or hold_s < 0 or release_s < 0:
            raise ConfigurationError("level_dbfs is at most 0, and hold_s and release_s are not negative.")
        self._power = 10 ** (level_dbfs / 10)
        self._hold = max(round(hold_s / _WINDOW_SECONDS), 1)
        self._release = max(round(release_s / _WINDOW_SECONDS), 1)
        self._loud = self._quiet = 0
        self._told = False
        self._rest: list[float] = []

    @property
    def speaking(self) -> bool:
        """Whether somebody is heard to speak, whether or not the model does."""
        return self._loud >= self._hold

    def hear(
        self,
        audio: Any,
        *,
        playing: bool,
        format: SampleFormat | None = None,  # noqa: A002 - the word of this trade
        sample_rate: int = INPUT_RATE,
    ) -> bool:
        """Listen to a piece of sound, the same that is sent.

        Args:
            audio: Whole samples of one channel: bytes or an array, as for `send_audio`.
            playing: Whether the model is heard just now, such as `JitterBuffer.playing`.
            format: What bytes are; `None` for `pcm16`.
            sample_rate: Samples a second.

        Returns:
            Whether to interrupt now: once for each time that somebody begins to speak.

        Raises:
            InvalidInputError: It is no sound.
        """
        self._listen(as_floats(audio, format), max(round(sample_rate * _WINDOW_SECONDS), 1))
        if self._told or not playing or not self.speaking:
            return False
        self._told = True
        return True

    def reset(self) -> None:
        """Forget what was heard."""
        self._loud = self._quiet = 0
        self._told = False
        self._rest.clear()

    def _listen(self, floats: array[float], size: int) -> None:
        self._rest.extend(floats)
        whole = len(self._rest) - len(self._rest) % size
        for at in range(0, whole, size):
            window = self._rest[at : at + size]
            self._count(loud=sum(map(mul, window, window)) / size >= self._power)
        del self._rest[:whole]

    def _count(self, *, loud: bool) -> None:
        if loud:
            self._loud, self._quiet = self._loud + 1, 0
        elif self.speaking and self._quiet + 1 < self._release:
            self._quiet += 1  # between words
        else:
            self._loud = self._quiet = 0
            self._told = False
