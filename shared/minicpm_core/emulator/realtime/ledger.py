"""What a session has cost so far: tokens by kind, and the length of the model's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicpm_core.emulator.tokens import count
from minicpm_core.realtime.events import INPUT_RATE, OUTPUT_RATE

if TYPE_CHECKING:
    from minicpm_core.emulator.realtime.faults import SessionPlan
    from minicpm_core.emulator.realtime.mind import Unit
    from minicpm_core.emulator.realtime.speech import Piece

WINDOW = 8192
"""Tokens that the model has room for."""

_HEARD = 16
_SPOKEN = 25
"""Tokens of a second of sound, in and out, as the vendor's gateway counts."""


class Ledger:
    """Counts.

    Args:
        plan: May begin with more, and grow faster.
        prompt: The system prompt.
        voice: Seconds of the reference voice.
    """

    def __init__(self, plan: SessionPlan, prompt: str, voice: float) -> None:
        self._plan = plan
        self._input = [count(prompt), round(voice * _HEARD), 0]
        self._output = [0, 0]
        self._chunk = ([0, 0, 0], [0, 0])
        self.memory = int(plan.number("context", sum(self._input)))
        self.pieces = (0, 0)

    def add(self, unit: Unit, vision_tokens: int, piece: Piece | None) -> None:
        """One more unit, and what it came to."""
        heard = [1, round(len(unit.samples) / INPUT_RATE * _HEARD), vision_tokens]
        said = [count(piece.text), round(piece.samples / OUTPUT_RATE * _SPOKEN)] if piece else [0, 0]
        self.pieces = (said[0], said[1])
        self._chunk = (heard, said)
        self._input = [a + b for a, b in zip(self._input, heard, strict=True)]
        self._output = [a + b for a, b in zip(self._output, said, strict=True)]
        self.memory += sum(heard) + sum(said) + int(self._plan.number("growth"))
        if "slide" in self._plan.values and self.memory >= WINDOW:
            self.memory //= 2

    @property
    def usage(self) -> dict[str, Any]:
        """Of the session."""
        return _usage(self._input, self._output)

    @property
    def chunk(self) -> dict[str, Any]:
        """Of the last unit."""
        return _usage(*self._chunk)


def _usage(heard: list[int], said: list[int]) -> dict[str, Any]:
    return {
        "total_tokens": sum(heard) + sum(said),
        "input_tokens": sum(heard),
        "output_tokens": sum(said),
        "input_token_details": dict(zip(("text_tokens", "audio_tokens", "vision_tokens"), heard, strict=True)),
        "output_token_details": dict(zip(("text_tokens", "audio_tokens"), said, strict=True)),
    }
