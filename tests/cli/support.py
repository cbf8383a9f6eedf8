"""What the tests of the command share."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "examples" / "photos"
ESCAPE = "\x1b"
_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9])")
_PATIENCE = 60


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run of the command left.

    Attributes:
        code: The exit code.
        out: Standard output.
        err: Standard error.
    """

    code: int
    out: str
    err: str


def command(*arguments: str) -> list[str]:
    """The command line for a process of its own."""
    return [sys.executable, "-W", "error", "-m", "minicpm_core.cli", *arguments]


@dataclass(slots=True)
class Terminal:
    """A run in a terminal, where both outputs come to the same screen."""

    process: subprocess.Popen[bytes]
    screen: int
    raw: str = ""
    _decoder: codecs.IncrementalDecoder = field(default_factory=codecs.getincrementaldecoder("utf-8"))

    @classmethod
    def start(cls, arguments: Sequence[str], columns: int, environment: Mapping[str, str]) -> Terminal:
        """Start the command in a terminal of so many columns."""
        screen, keyboard = pty.openpty()
        fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environment = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
        process = subprocess.Popen(
            command(*arguments),
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            env=environment,
            start_new_session=True,
        )
        os.close(keyboard)
        return cls(process, screen)

    def read_until(self, mark: str) -> str:
        """Everything shown until a regular expression is found in it, as it was sent."""
        while not re.search(mark, self.raw):
            if not self._read():
                raise AssertionError(f"{mark!r} was not shown, but: {self.raw}")
        return self.raw

    def end(self) -> int:
        """Read until the command ends, and give its exit code."""
        while self._read():
            pass
        return self.process.wait(_PATIENCE)

    def _read(self) -> bool:
        """Read some more, if there is more to come."""
        if not select.select([self.screen], [], [], _PATIENCE)[0]:
            raise AssertionError(f"Nothing more was shown within {_PATIENCE} s after: {self.raw}")
        try:
            piece = os.read(self.screen, 65536)
        except OSError:  # how Linux ends a terminal that nobody writes to any more
            return False
        self.raw += self._decoder.decode(piece)
        return bool(piece)

    @property
    def lines(self) -> list[str]:
        """What was shown, without colours, line by line."""
        return _SEQUENCE.sub("", self.raw).replace("\r", "").split("\n")

    def close(self) -> None:
        """End it in any case."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(_PATIENCE)
        os.close(self.screen)
