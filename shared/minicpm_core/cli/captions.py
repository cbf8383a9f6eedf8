"""What the model says, on the screen as it says it: turn by turn, with the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicpm_core.cli.screen import NOTICE, Typewriter
from minicpm_core.cli.show import PlainWriter
from minicpm_core.realtime import events
from minicpm_core.realtime.wav import seconds

if TYPE_CHECKING:
    from minicpm_core.cli.screen import Screen
    from minicpm_core.cli.show import Writer
    from minicpm_core.realtime.clock import Clock


class Captions:
    """Writes the text to standard output, and everything about it to standard error.

    Args:
        screen: Where to write.
        clock: Of the session.

    Attributes:
        turns: Turns that have ended.
    """

    def __init__(self, screen: Screen, clock: Clock) -> None:
        self._screen = screen
        self._clock = clock
        self._began = clock.now()
        self._writer: Writer | None = None
        self._since = 0.0
        self._spoken = 0.0
        self.turns = 0

    def take(self, event: events.ServerEvent) -> None:
        """Show what an event tells, if it tells something."""
        if isinstance(event, events.TextDelta | events.AudioDelta):
            self._speak(event)
        elif isinstance(event, events.ResponseInterrupted):
            self.end("interrupted")
        elif isinstance(event, events.Listen):
            self.end()
        elif isinstance(event, events.SessionReplaced):
            self.end("broken off")
            self._screen.note("Another session took over: what was said before is forgotten.", NOTICE)

    def end(self, how: str = "") -> None:
        """End the line, and tell how long the turn was."""
        if self._writer is None:
            return
        self._writer.end()
        self._writer = None
        self.turns += 1
        facts = [f"from {self._since:.1f} s", f"{self._spoken:.1f} s of speech", how]
        self._screen.note(f"[turn {self.turns}: {', '.join(filter(None, facts))}]")

    def _speak(self, event: events.TextDelta | events.AudioDelta) -> None:
        if self._writer is None:
            self._since, self._spoken = self._clock.now() - self._began, 0.0
            self._writer = (
                Typewriter(self._screen.out) if self._screen.out.is_terminal else PlainWriter(self._screen.out)
            )
        if isinstance(event, events.TextDelta):
            self._writer.write(event.text)
        else:
            self._spoken += seconds(event.audio)
