"""An answer as a model speaks it: cut into units, each with its piece of text and its piece of sound."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from functools import lru_cache

from minicpm_core.emulator.realtime.formants import silence, syllable, syllables
from minicpm_core.realtime.events import OUTPUT_RATE
from minicpm_core.realtime.samples import F32_BYTES, base64_text, to_bytes

_FIRST = 0.6
"""Seconds of the first piece of sound; the others are of a second, but for the last."""
_AHEAD = 0.3
"""Seconds that the text is ahead of the sound."""
_PAUSE = 0.15
_GAP = 0.03


@dataclass(frozen=True, slots=True)
class Piece:
    """What one unit says.

    Attributes:
        text: Some words; empty where the sound only catches up.
        audio: Float32 at 24 kHz, as base64.
        samples: How many.
    """

    text: str
    audio: str = field(repr=False)
    samples: int


@lru_cache(maxsize=16)
def spoken(text: str) -> tuple[Piece, ...]:
    """A text as pieces of a second. Joined, they give the text and one unbroken sound.

    Made once for each text: the answers of the emulator are few.
    """
    sound = array("f")
    begins: list[tuple[float, str]] = []
    tone = 0
    for word in _words(text):
        begins.append((len(sound) / OUTPUT_RATE, word))
        for onset, vowel in syllables(word):
            sound += syllable(onset, vowel, tone)
            tone += 1
        sound += silence(_PAUSE if word.rstrip().endswith((".", ",", "?", "!", ":")) else _GAP)
    pieces: list[Piece] = []
    at, end = 0, int(_FIRST * OUTPUT_RATE)
    while at < len(sound):
        end = min(end, len(sound))
        until = end / OUTPUT_RATE + _AHEAD if end < len(sound) else float("inf")
        said = "".join(word for begin, word in begins if begin < until)
        begins = [(begin, word) for begin, word in begins if begin >= until]
        data = to_bytes(sound[at:end])
        pieces.append(Piece(said, base64_text(data), len(data) // F32_BYTES))
        at, end = end, end + OUTPUT_RATE
    return tuple(pieces)


def _words(text: str) -> list[str]:
    """Words with the blank after each, so that they can be joined again."""
    words = text.split(" ")
    return [f"{word} " for word in words[:-1]] + words[-1:]
