"""The words after `minicpm ask`: pictures, videos, recordings or PDFs, and last the question."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from minicpm_core.errors import InvalidInputError
from minicpm_core.media.containers import HEAD, identify
from minicpm_core.media.pdfium import is_pdf
from minicpm_core.media.sources import from_url
from minicpm_core.parts import AudioSource, DocumentSource, ImageSource, VideoSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minicpm_core.parts import Source

Picture: TypeAlias = Path | bytes | str
"""A file, its content, or a URL."""

STDIN = "-"
_SHOWN = 80
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:", re.ASCII)
_USAGE = 'Pictures come first and the question last, in quotes: minicpm ask photo.jpg "What is this?"'


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        text: The question.
        pictures: What it is about, in order; there may be none.
    """

    text: str
    pictures: tuple[Picture, ...] = ()


def read_words(words: Sequence[str]) -> Question:
    """The question that some words of the command line make. `-` stands for standard input, once.

    Args:
        words: Pictures, and last the question.

    Raises:
        InvalidInputError: A file is missing, or there is no question.
    """
    if list(words).count(STDIN) > 1:
        raise InvalidInputError("Standard input (-) can be read once: as one picture, or as the question.")
    *pictures, question = words
    if question != STDIN and _is_file(question):
        raise InvalidInputError(f"There is no question after {question!r}. {_USAGE}")
    read = tuple(_picture(word) for word in pictures)
    text = sys.stdin.read() if question == STDIN else question
    if not text.strip():
        raise InvalidInputError(f"The question is empty. {_USAGE}")
    return Question(text.strip(), read)


def _picture(word: str) -> Picture:
    if word == STDIN:
        return sys.stdin.buffer.read()
    if _is_file(word):
        return Path(word)
    if _URL.match(word):
        return word
    if os.path.isdir(word):  # noqa: PTH112 - as below
        raise InvalidInputError(f"{word!r} is a folder. Name the pictures in it.")
    raise InvalidInputError(f"There is no file {_cut(word)!r}. {_USAGE}")


def _is_file(word: str) -> bool:
    return os.path.isfile(word)  # noqa: PTH113 - pathlib raises where a text is too long for a file name


def _cut(word: str) -> str:
    return word if len(word) <= _SHOWN else f"{word[:_SHOWN]}…"


def source(medium: Picture) -> Source:
    """A medium in the core's terms, not read yet. Its first bytes tell what it is; at a URL it is a picture."""
    if isinstance(medium, str):
        return from_url(ImageSource, medium)
    head = medium[:HEAD] if isinstance(medium, bytes) else _head(medium)
    cls = _kind(head)
    if cls is DocumentSource and isinstance(medium, Path):
        return DocumentSource("path", medium, name=medium.name)
    return cls("bytes" if isinstance(medium, bytes) else "path", medium)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:  # the reading itself will say why
        return b""


def _kind(head: bytes) -> type[Source]:
    found = identify(head)
    if found is not None:
        return VideoSource if found.medium == "video" else AudioSource
    return DocumentSource if is_pdf(head) else ImageSource
