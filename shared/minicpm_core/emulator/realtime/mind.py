"""The rules of a full-duplex session: when the emulator listens, when it speaks, and what it says.

It answers a sound once that is followed by a quiet unit, and says what it heard and saw.  It stops as soon as somebody
speaks or it is forced to listen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minicpm_core.emulator.realtime import hearing
from minicpm_core.emulator.realtime.speech import spoken

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator

    from minicpm_core.emulator.realtime.speech import Piece

INTRODUCTION = "I am the emulator, not a model."


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a client sent for one second.

    Attributes:
        samples: At 16 kHz.
        level: In dB below full scale.
        frames: JPEG files.
        force_listen: Whether the model must listen.
        max_slice_nums: Cut-outs per frame.
        input_id: The client's name for it.
    """

    samples: array[float] = field(repr=False)
    level: float = -math.inf
    frames: tuple[bytes, ...] = field(default=(), repr=False)
    force_listen: bool = False
    max_slice_nums: int = 1
    input_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a unit comes to.

    Attributes:
        number: Of the turn that it belongs to, from 1; `None` where the emulator just listens.
        piece: What is said.
        ended: Whether the turn ends with it.
    """

    number: int | None = None
    piece: Piece | None = None
    ended: bool = False


class Mind:
    """Decides, unit after unit.

    Args:
        forced: How many of the first units it listens to in any case, as `force_listen_count` has it.
        sees: How a frame is put into words.
    """

    def __init__(self, *, forced: int, sees: Sight | None = None) -> None:
        self._forced = forced
        self._sight = sees
        self._heard = 0
        self._loudest: Unit | None = None
        self._frame: bytes | None = None
        self._interrupted = False
        self._turn = 0
        self._speaking: Iterator[Piece] | None = None
        self._next: Piece | None = None

    def take(self, unit: Unit) -> Output:
        """What one more unit comes to."""
        loud = unit.level > hearing.SPEECH
        if loud:
            self._heard += 1
            if self._loudest is None or unit.level > self._loudest.level:
                self._loudest = unit
        self._frame = unit.frames[-1] if unit.frames else self._frame
        forced = unit.force_listen or self._forced > 0
        self._forced -= 1
        if self._speaking is not None and (forced or loud):
            self._interrupted = self._interrupted or forced
            self._speaking = None
            return Output(number=self._turn, ended=True)
        if self._speaking is None and self._loudest is not None and not loud and not forced:
            self._begin(self._loudest)
        return self._speak() if self._speaking is not None else Output()

    def _begin(self, loudest: Unit) -> None:
        text = self._answer(loudest)
        self._turn += 1
        self._heard, self._loudest, self._interrupted = 0, None, False
        self._speaking = iter(spoken(text))
        self._next = next(self._speaking)

    def _speak(self) -> Output:
        piece = self._next
        self._next = next(self._speaking, None) if self._speaking is not None else None
        ended = self._next is None
        if ended:
            self._speaking = None
        return Output(number=self._turn, piece=piece, ended=ended)

    def _answer(self, loudest: Unit) -> str:
        seconds = f"{self._heard} second{'s' * (self._heard != 1)}"
        tone = hearing.pitch(loudest.samples)
        around = f", around {tone:.0f} hertz" if tone else ""
        said = [INTRODUCTION, f"I heard {seconds} of sound, {hearing.loudness(loudest.level)}{around}."]
        if self._frame is not None and self._sight is not None:
            said.append(self._sight.words(self._frame))
        if self._interrupted:
            said.append("You interrupted me before.")
        return " ".join(said)


class Sight:
    """Puts a frame into words. Decoded only when something is said about it."""

    def __init__(self, model: str) -> None:
        self._model = model

    def words(self, frame: bytes) -> str:
        """Size and main colours.

        Raises:
            Refusal: It is no picture.
        """
        from minicpm_core.emulator.pictures import measured, opened

        picture = measured(*opened(frame), self._model)
        colours = " and ".join(name for name, _ in picture.colours[:2])
        return f"I see {picture.width} by {picture.height} pixels, mostly {colours}."
