"""A streamed answer on the screen, thoughts apart from text, and what is known of it at its end."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from minicpm_core.errors import MalformedReplyError

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.console import Console

    from minicpm_core.types import Completion, Delta


class Writer(Protocol):
    """Where text is written as it comes."""

    def write(self, text: str) -> None:
        """Write some more."""
        ...

    def end(self) -> None:
        """End the line, if one was begun."""
        ...


class PlainWriter:
    """For pipes and files: the text as it is, with a newline at its end."""

    def __init__(self, console: Console) -> None:
        """Write where the console does."""
        self._console = console
        self._in_line = False

    def write(self, text: str) -> None:
        """Write some more, at once."""
        self._console.file.write(text)
        self._console.file.flush()
        self._in_line = not text.endswith("\n")

    def end(self) -> None:
        """End the line, if one was begun."""
        if self._in_line:
            self.write("\n")


class NoWriter:
    """For what is not to be shown."""

    def write(self, text: str) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer and how long it took.

    Attributes:
        completion: What was answered.
        first: Seconds until the first text or thought; `None` if there was none.
        seconds: Seconds in all.
    """

    completion: Completion
    first: float | None
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """For `--json`: plain types, with every key always there."""
        usage = self.completion.usage
        counts = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
        return {
            "model": self.completion.model,
            "text": self.completion.text,
            "reasoning": self.completion.reasoning,
            "finish_reason": self.completion.finish_reason,
            "usage": {name: getattr(usage, name) for name in counts} if usage else None,
            "request_id": self.completion.request_id,
            "seconds_to_first_token": None if self.first is None else round(self.first, 3),
            "seconds": round(self.seconds, 3),
        }

    def summary(self) -> str:
        """In one line: model, tokens, time."""
        usage = self.completion.usage
        facts = [
            self.completion.model or "",
            f"{usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens" if usage else "no token counts",
            f"first after {self.first:.1f} s" if self.first is not None else "",
            f"{self.seconds:.1f} s in all",
        ]
        return ", ".join(fact for fact in facts if fact)


def show(deltas: Generator[Delta, None, None], *, thoughts: Writer, answer: Writer, gap: Writer) -> Answer:
    """Write a streamed answer as it comes.

    Args:
        deltas: The stream; it is closed in any case.
        thoughts: Where reasoning is written.
        answer: Where text is written.
        gap: Where an empty line is written between the two.

    Raises:
        APIError: The stream ended before the answer did. What came until then has been written.
    """
    began = time.perf_counter()
    first: float | None = None
    writer: Writer | None = None
    final: Completion | None = None
    with closing(deltas):
        try:
            for delta in deltas:
                for text, wanted in ((delta.reasoning, thoughts), (delta.text, answer)):
                    if not text:
                        continue
                    first = time.perf_counter() - began if first is None else first
                    if writer is not None and writer is not wanted:
                        writer.end()
                        gap.write("\n")
                    writer = wanted
                    writer.write(text)
                final = delta.final or final
        finally:
            if writer is not None:
                writer.end()
    if final is None:
        raise MalformedReplyError("The answer has no end.")
    return Answer(final, first, time.perf_counter() - began)
