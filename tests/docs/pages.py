"""The pages of the documentation, and the code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        page: Where it stands.
        line: The line that its code begins on.
        language: As its fence names it.
        code: What it holds.
    """

    page: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        """Where it is."""
        return f"{self.page.name}:{self.line}"

    @property
    def compiled_source(self) -> str:
        """The code with its lines where the page has them, so that a traceback points there."""
        return "\n" * (self.line - 1) + self.code


def blocks(page: Path, language: str) -> Iterator[Block]:
    """The blocks of a page in one language, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        if found[1] == language:
            yield Block(page, text.count("\n", 0, found.start()) + 2, found[1], found[2])
