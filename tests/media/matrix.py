"""What is sent, as data: source kind x medium x framework x backend.

`test_matrix` tries every cell; the page `docs/media.md` shows the same rows, which `python -m tests.media.matrix`
prints.  The model is MiniCPM-o 4.5, which takes every medium.
"""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minicpm_core.backends import BackendName

Medium: TypeAlias = Literal["image", "video", "audio", "PDF", "text file"]
Source: TypeAlias = Literal[
    "path", "bytes", "file object", "Pillow image", "data URL", "Base64", "URL, fetched", "URL, passed on"
]
Framework: TypeAlias = Literal["LangChain", "LlamaIndex"]
Outcome: TypeAlias = Literal[
    "image_url",
    "video_url (MP4)",
    "video_url (JPEG frames)",
    "input_video",
    "times and image_url",
    "audio_url",
    "input_audio",
    "text and image_url",
    "text",
    "image_url (the URL)",
    "video_url (the URL)",
    "audio_url (the URL)",
    "UnsupportedContentError",
    "InvalidMediaError",
    "ValidationError",
]
"""The content part that arrives, or the error that is raised before anything is sent.

`ValidationError` is Pydantic's: LlamaIndex's own blocks do not hold such a value.
"""

BACKENDS: Final[tuple[BackendName, ...]] = (
    "modelbest", "vllm", "sglang", "llamacpp", "ollama", "transformers", "generic",
)  # fmt: skip
_BOTH: Final[tuple[Framework, ...]] = ("LangChain", "LlamaIndex")
_READ: Final[tuple[Source, ...]] = ("path", "bytes", "file object", "data URL", "Base64", "URL, fetched")
_ALL_BUT_IMAGES: Final[tuple[Medium, ...]] = ("video", "audio", "PDF", "text file")
_NO: Final = "UnsupportedContentError"


class Row(NamedTuple):
    """Cells that are alike.

    Attributes:
        media: Which media.
        sources: How they may be given.
        frameworks: Through which framework.
        outcomes: What becomes of them, for each of `BACKENDS`.
    """

    media: tuple[Medium, ...]
    sources: tuple[Source, ...]
    frameworks: tuple[Framework, ...]
    outcomes: tuple[Outcome, Outcome, Outcome, Outcome, Outcome, Outcome, Outcome]


class Cell(NamedTuple):
    """One of each."""

    framework: Framework
    medium: Medium
    source: Source
    backend: BackendName
    outcome: Outcome

    def __str__(self) -> str:
        """A name for its test."""
        return f"{self.framework}-{self.medium}-{self.source}-{self.backend}".replace(" ", "_")


ROWS: Final[tuple[Row, ...]] = (
    Row(
        ("image",), _READ, _BOTH,
        ("image_url", "image_url", "image_url", "image_url", "image_url", "image_url", "image_url"),
    ),
    Row(
        ("image",), ("Pillow image",), ("LangChain",),
        ("image_url", "image_url", "image_url", "image_url", "image_url", "image_url", "image_url"),
    ),
    Row(
        ("image",), ("URL, passed on",), _BOTH,
        (_NO, "image_url (the URL)", "image_url (the URL)", "image_url (the URL)", _NO, "image_url (the URL)", _NO),
    ),
    Row(
        ("video",), _READ, _BOTH,
        (
            "video_url (MP4)", "video_url (JPEG frames)", "video_url (MP4)", "input_video", "times and image_url",
            "video_url (MP4)", "times and image_url",
        ),
    ),
    Row(
        ("video",), ("URL, passed on",), _BOTH,
        (_NO, "video_url (the URL)", "video_url (the URL)", _NO, _NO, "video_url (the URL)", _NO),
    ),
    Row(
        ("audio",), _READ, _BOTH,
        ("audio_url", "audio_url", "audio_url", "input_audio", _NO, _NO, "input_audio"),
    ),
    Row(
        ("audio",), ("URL, passed on",), _BOTH,
        (_NO, "audio_url (the URL)", "audio_url (the URL)", _NO, _NO, _NO, _NO),
    ),
    Row(
        ("PDF",), (*_READ, "URL, passed on"), _BOTH,
        (
            "text and image_url", "text and image_url", "text and image_url", "text and image_url",
            "text and image_url", "text and image_url", "text and image_url",
        ),
    ),
    Row(
        ("text file",), (*_READ, "URL, passed on"), _BOTH,
        ("text", "text", "text", "text", "text", "text", "text"),
    ),
    Row(
        _ALL_BUT_IMAGES, ("Pillow image",), ("LangChain",),
        (
            "InvalidMediaError", "InvalidMediaError", "InvalidMediaError", "InvalidMediaError", "InvalidMediaError",
            "InvalidMediaError", "InvalidMediaError",
        ),
    ),
    Row(
        ("image", *_ALL_BUT_IMAGES), ("Pillow image",), ("LlamaIndex",),
        (
            "ValidationError", "ValidationError", "ValidationError", "ValidationError", "ValidationError",
            "ValidationError", "ValidationError",
        ),
    ),
)  # fmt: skip
"""Written down, not derived: the tests hold the code to it."""


def cells() -> Iterator[Cell]:
    """Every cell of every row."""
    for row in ROWS:
        for framework, medium, source in itertools.product(row.frameworks, row.media, row.sources):
            for backend, outcome in zip(BACKENDS, row.outcomes, strict=True):
                yield Cell(framework, medium, source, backend, outcome)


def every_combination() -> Iterator[tuple[str, str, str, str]]:
    """What the cells must be, each once: framework, medium, source, backend."""
    return itertools.product(get_args(Framework), get_args(Medium), get_args(Source), BACKENDS)


def table() -> str:
    """The rows in Markdown."""
    heads = ("medium", "given as", "through", *(f"`{name}`" for name in BACKENDS))
    lines = [heads, ("---",) * len(heads)]
    for row in ROWS:
        through = "both" if row.frameworks == _BOTH else row.frameworks[0]
        sources = ", ".join(source.replace(", ", " ") for source in row.sources)
        lines.append((", ".join(row.media), sources, through, *map(_shown, row.outcomes)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(outcome: Outcome) -> str:
    if outcome.endswith("Error"):
        return f"*{outcome}*"
    first, space, rest = outcome.partition(" (")
    return " and ".join(word if word in {"text", "times"} else f"`{word}`" for word in first.split(" and ")) + (
        f"{space}{rest}"
    )


if __name__ == "__main__":
    sys.stdout.write(f"{table()}\n")
