"""What the command writes, and where: answers to standard output, everything about them to standard error.

So `minicpm ask … > answer.txt` gives the answer alone.  Colours, marks and line breaks are for terminals; a pipe gets
the text as it is.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from rich.style import Style

THOUGHT = "dim italic"
QUIET = "dim"
HEADING = "bold"
NOTICE = "yellow"

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but tab and newline, and those that turn the direction of writing: a model's words must not move
the cursor or hide what they say."""


def safe(text: str) -> str:
    """A text that a terminal shows and does not obey."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Leave it to the caller: rich would exit with 1, as if something had failed."""
        raise BrokenPipeError


def _console(*, stderr: bool) -> Console:
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False)


@dataclass(frozen=True, slots=True)
class Screen:
    """The two places to write to.

    Attributes:
        out: Standard output, for answers.
        err: Standard error, for thoughts, counts, notes and errors.
    """

    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    def note(self, text: str, style: str = QUIET) -> None:
        """Say something about the answer, on standard error."""
        say(self.err, text, style)


def say(console: Console, text: str, style: str | Style = "") -> None:
    """Write a paragraph: wrapped for a terminal, in one line for a pipe."""
    console.print(Text(safe(text), style=style), soft_wrap=not console.is_terminal)


def bar(console: Console) -> str:
    """The mark at the left of thoughts, in a form that the output can write."""
    try:
        "│".encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return "| "
    return "│ "


def tolerate_odd_characters() -> None:
    """Write what the output's encoding does not have as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


_WIDE = "\u1100-\u115f\u2e80-\u303e\u3041-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60"
_TOKENS = re.compile(rf"\n|[^\S\n]+|[{_WIDE}]|[^\s{_WIDE}]+")


class Typewriter:
    """Writes streamed text as it comes, in whole words, broken at the width of the terminal.

    Nothing is written twice or taken back, so that it works for answers of any length and in any terminal.
    """

    def __init__(self, console: Console, *, title: str = "", margin: str = "", style: str = "") -> None:
        """Nothing is written yet.

        Args:
            console: Where to write.
            title: A line above the text, if any text comes.
            margin: What each line begins with.
            style: Of the text, not of the margin.
        """
        self._file = console.file
        self._title = f"{_styled(title, QUIET, console)}\n" if title else ""
        self._margin = _styled(margin, QUIET, console)
        self._before, self._after = _styled(_MARK, style, console).split(_MARK)
        self._width = max(8, console.width - cell_len(margin) - 1)
        self._column = -1  # before the margin
        self._blank = ""
        self._word = ""

    def write(self, text: str) -> None:
        """Write what is complete of the text so far; a word that may go on waits."""
        tokens = _TOKENS.findall(self._word + safe(text))
        self._word = ""
        if tokens and not tokens[-1].isspace() and cell_len(tokens[-1]) < self._width:
            self._word = tokens.pop()
        for token in tokens:
            self._token(token)

    def end(self) -> None:
        """Write what is left, and end the line."""
        word, self._word = self._word, ""
        if word:
            self._token(word)
        if self._column >= 0:
            self._newline()

    def _token(self, token: str) -> None:
        if token == "\n":  # noqa: S105 - not that kind of token
            self._begin()
            self._newline()
        elif token.isspace():
            self._blank = token.expandtabs(4)
        else:
            self._put(token)

    def _put(self, word: str) -> None:
        blank, self._blank = self._blank, ""
        if self._column > 0 and self._column + cell_len(blank) + cell_len(word) > self._width:
            self._newline()
            blank = ""
        self._begin()
        *full, text = chop_cells(blank + word, self._width - self._column)
        for line in full:
            self._emit(f"{self._before}{line}{self._after}")
            self._newline()
            self._begin()
        self._emit(f"{self._before}{text}{self._after}")
        self._column += cell_len(text)

    def _begin(self) -> None:
        if self._column < 0:
            self._column = 0
            title, self._title = self._title, ""
            self._emit(title + self._margin)

    def _newline(self) -> None:
        self._column = -1
        self._blank = ""
        self._emit("\n")

    def _emit(self, text: str) -> None:
        """Write at once. Not through rich, which would write its last piece again after a Ctrl-C in its middle."""
        self._file.write(text)
        self._file.flush()


_MARK = "x"


def _styled(text: str, style: str, console: Console) -> str:
    """A text with the codes that its style takes on that console."""
    if not text or not style or console.legacy_windows:
        return text
    with console.capture() as captured:
        console.out(text, style=style, highlight=False, end="")
    return captured.get()
