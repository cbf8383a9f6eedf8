"""Streamed text on a screen."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from minicpm_core.cli.screen import Typewriter, safe

TEXTS = st.text(st.sampled_from([*"abcdefgh.,-  \n\t你好界", "é", "🙂"]), max_size=120)


def typed(pieces: list[str], width: int, *, margin: str = "", title: str = "") -> str:
    """What a typewriter writes in a terminal without colours."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None)
    typewriter = Typewriter(console, margin=margin, title=title)
    for piece in pieces:
        typewriter.write(piece)
    typewriter.end()
    return file.getvalue()


def split(text: str, cuts: list[int]) -> list[str]:
    """A text in pieces."""
    places = sorted({min(cut, len(text)) for cut in cuts})
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


@given(text=TEXTS, cuts=st.lists(st.integers(0, 120), max_size=12), width=st.integers(10, 40))
def test_where_a_stream_is_cut_makes_no_difference(text: str, cuts: list[int], width: int) -> None:
    assert typed(split(text, cuts), width, margin="| ") == typed([text], width, margin="| ")


@given(text=TEXTS, width=st.integers(12, 40))
def test_no_line_is_wider_than_the_terminal_and_no_character_is_lost(text: str, width: int) -> None:
    shown = typed([text], width, margin="| ")
    assert all(cell_len(line) <= width for line in shown.split("\n"))
    kept = "".join(line.removeprefix("| ") for line in shown.split("\n"))
    assert "".join(kept.split()) == "".join(text.split())


@given(text=TEXTS.filter(lambda text: "\t" not in text))
def test_lines_that_fit_stay_as_they_are(text: str) -> None:
    """So code in an answer keeps its indentation and its empty lines."""
    shown = typed([text], 1000)
    assert [line.rstrip() for line in shown.rstrip().split("\n")] == [
        line.rstrip() for line in text.rstrip().split("\n")
    ]


def test_words_move_to_the_next_line_whole() -> None:
    assert typed(["The quick bro", "wn fox jumps."], 17, margin="| ") == "| The quick\n| brown fox\n| jumps.\n"


def test_a_complete_word_is_written_at_once() -> None:
    """An answer is seen as it comes, not at its end."""
    file = io.StringIO()
    typewriter = Typewriter(Console(file=file, width=40, color_system=None))
    typewriter.write("One, two, th")
    assert file.getvalue() == "One, two,"


def test_a_title_stands_above_what_comes_and_not_above_nothing() -> None:
    assert typed(["Hello."], 40, title="answer") == "answer\nHello.\n"
    assert typed([], 40, title="answer") == ""


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\x08", "\x9b", "\u202e", "\x7f"])
def test_a_models_words_cannot_steer_the_terminal(character: str) -> None:
    shown = typed([f"before{character}[31mafter"], 60)
    assert character not in shown
    assert shown == "before\N{REPLACEMENT CHARACTER}[31mafter\n"


def test_windows_line_ends_are_line_ends() -> None:
    assert safe("one\r\ntwo") == "one\ntwo"
