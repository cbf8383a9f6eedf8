"""Reasoning and answer are told apart, whichever way the server sends them and wherever the pieces are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minicpm_core.protocol.thinking import Split, ThinkingSplitter, split_whole

_ANSWERS = [
    # (reasoning field, content, truncated, (reasoning, text))
    ("", "Hello.", False, ("", "Hello.")),
    ("Hm.", "Hello.", False, ("Hm.", "Hello.")),
    ("Hm.\n", "\n\nHello.", False, ("Hm.", "Hello.")),
    ("\nHm.\nYes.\n\n", "Hello.\n", False, ("Hm.\nYes.", "Hello.\n")),
    ("", "<think>Hm.</think>Hello.", False, ("Hm.", "Hello.")),
    ("", "<think>\nHm.\n</think>\n\nHello.", False, ("Hm.", "Hello.")),
    ("", " \n<think>Hm.</think>Hello.", False, ("Hm.", "Hello.")),
    ("", "<think>\n\n</think>\n\nHello.", False, ("", "Hello.")),
    ("", "<think>Hm.</think>", False, ("Hm.", "")),
    ("", "Hm.\n</think>\n\nHello.", False, ("Hm.", "Hello.")),
    ("", "</think>\n\nHello.", False, ("", "Hello.")),
    ("", "<think>Hm", True, ("Hm", "")),
    ("", "<think>Hm", False, ("Hm", "")),
    ("", "<think>Hm</thi", True, ("Hm</thi", "")),
    ("", "Hm", True, ("Hm", "")),
    ("", "<thi", False, ("", "<thi")),
    ("Hm", "", True, ("Hm", "")),
    ("", "", False, ("", "")),
    ("", "  indented", False, ("", "  indented")),
    ("", "\r\n\n  indented", False, ("", "  indented")),
    # Only the head of the content and the first closing tag count
    ("", "<think>a</think>b<think>c</think>d", False, ("a", "b<think>c</think>d")),
    ("", "<think>a<think>b</think>c", False, ("a<think>b", "c")),
    ("", "Hm.</think>About </think>.", False, ("Hm.", "About </think>.")),
    # A server that tells thoughts apart has said what is content
    ("Hm.", "The tag <think> opens, </think> closes.", False, ("Hm.", "The tag <think> opens, </think> closes.")),
    ("Hm.", "<think>x</think>y", False, ("Hm.", "<think>x</think>y")),
    # Not tags
    ("", "<Think>a</Think>b", False, ("", "<Think>a</Think>b")),
    ("", "<thinking>a</thinking>b", False, ("", "<thinking>a</thinking>b")),
    ("", "1 < 2, < think >", False, ("", "1 < 2, < think >")),
]


def _split(pieces: list[str], *, field: str = "", truncated: bool = False, **how: bool) -> Split:
    splitter = ThinkingSplitter(**how)
    parts = [splitter.reasoning(piece) for piece in field if piece]
    parts += [splitter.content(piece) for piece in pieces]
    parts.append(splitter.finish(truncated=truncated))
    return "".join(reasoning for reasoning, _ in parts), "".join(text for _, text in parts)


def _at(text: str, *cuts: int) -> list[str]:
    return [text[start:end] for start, end in pairwise((0, *sorted(min(cut, len(text)) for cut in cuts), len(text)))]


@pytest.mark.parametrize(("field", "content", "truncated", "split"), _ANSWERS)
def test_every_shape_is_split(field: str, content: str, truncated: bool, split: Split) -> None:
    assert split_whole(content, field, expected=True, truncated=truncated) == split


@pytest.mark.parametrize(("field", "content", "truncated", "split"), _ANSWERS)
def test_a_stream_is_split_as_the_whole_wherever_it_is_cut(
    field: str, content: str, truncated: bool, split: Split
) -> None:
    """In two at every place, and one character at a time."""
    assert _split(list(content), field=field, truncated=truncated, hold=True) == split
    for cut in range(len(content) + 1):
        assert _split(_at(content, cut), field=field, truncated=truncated, hold=True) == split


_TOKENS = st.sampled_from(
    ["<think>", "</think>", "<th", "ink>", "</", "think>", "\n", "\r\n", " ", "a", "你", "<", "`"]
)


@given(
    content=st.lists(_TOKENS, max_size=10).map("".join),
    field=st.sampled_from(["", "\nHm.\n", "x"]),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    truncated=st.booleans(),
)
@example(content="\n\n<think>a\n</think>\n\nb", field="", cuts=[3, 12], truncated=False)
def test_any_cut_gives_the_same(content: str, field: str, cuts: list[int], *, truncated: bool) -> None:
    whole = split_whole(content, field, expected=True, truncated=truncated)
    assert _split(_at(content, *cuts), field=field, truncated=truncated, hold=True) == whole
    assert _split(list(content), field=field, truncated=truncated, hold=True) == whole


@given(content=st.lists(_TOKENS, max_size=8).map("".join), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_what_is_pending_is_what_an_end_by_a_limit_would_give(content: str, cuts: list[int]) -> None:
    """So a stream that breaks loses nothing, also of what was held back."""
    for how in ({"hold": True}, {"inline": True}, {}):
        splitter = ThinkingSplitter(**how)
        given_out = [splitter.content(piece) for piece in _at(content, *cuts)]
        pending = splitter.pending
        assert splitter.pending == pending
        assert splitter.finish(truncated=True) == pending
        assert splitter.pending == ("", "")
        assert all(len(split) == 2 for split in given_out)


def test_thoughts_known_to_come_inline_are_handed_out_as_they_come() -> None:
    splitter = ThinkingSplitter(inline=True)
    assert splitter.content("Let me ") == ("Let me ", "")
    assert splitter.content("see.\n</thi") == ("see.", "")
    assert splitter.content("nk>\n\nYes") == ("", "Yes")
    assert splitter.content(".") == ("", ".")
    assert splitter.finish(truncated=False) == ("", "")


def test_an_opening_tag_is_no_thought_where_thoughts_come_inline() -> None:
    assert _split(["<thi", "nk>Hm.</think>Hello."], inline=True) == ("Hm.", "Hello.")


def test_a_reasoning_field_wins_over_the_expectation_of_inline_thoughts() -> None:
    assert _split(["Hello."], field="Hm.", inline=True) == ("Hm.", "Hello.")


def test_nothing_is_held_back_where_no_thoughts_are_expected() -> None:
    """An answer streams from its first characters on, unless they may be an opening tag."""
    splitter = ThinkingSplitter()
    assert splitter.content("\n") == ("", "")
    assert splitter.content("<t") == ("", "")
    assert splitter.content("able>") == ("", "<table>")
    assert splitter.content("</think>") == ("", "</think>")
    assert splitter.in_text


def test_text_is_held_back_where_thoughts_may_come_without_an_opening_tag() -> None:
    splitter = ThinkingSplitter(hold=True)
    assert splitter.content("Hm. ") == ("", "")
    assert splitter.content("Yes.") == ("", "")
    assert not splitter.saw_lone_close
    assert splitter.content("</think>Hello") == ("Hm. Yes.", "Hello")
    assert splitter.saw_lone_close
    assert splitter.content(".") == ("", ".")


def test_an_answer_without_thoughts_comes_out_whole_at_its_end() -> None:
    splitter = ThinkingSplitter(hold=True)
    assert splitter.content("Hello") == ("", "")
    assert splitter.content(".") == ("", "")
    assert splitter.finish(truncated=False) == ("", "Hello.")
    assert not splitter.saw_lone_close


def test_tags_that_open_are_no_sign_of_a_server_that_leaves_them_out() -> None:
    splitter = ThinkingSplitter(hold=True)
    splitter.content("<think>Hm.</think>Hello.")
    assert not splitter.saw_lone_close


def test_content_that_was_held_is_text_once_a_reasoning_field_comes() -> None:
    splitter = ThinkingSplitter(hold=True)
    assert splitter.content("\n\nWait") == ("", "")
    assert splitter.reasoning("Hm.") == ("Hm.", "Wait")
    assert splitter.content("</think>") == ("", "</think>")


@pytest.mark.parametrize(
    "content",
    [
        "The tag `</think>` ends the thoughts.",
        "Write '</think>' there.",
        'Write "</think>" there.',
        "Wrap it as <think>…</think> and go on.",
        "First </thinking>, then nothing.",
    ],
)
def test_an_answer_that_talks_about_the_tags_is_left_alone(content: str) -> None:
    """Where no thoughts were asked for."""
    assert split_whole(content, "", expected=False, truncated=False) == ("", content)


def test_thoughts_that_nobody_asked_for_are_told_apart_all_the_same() -> None:
    """Not every server knows the switch."""
    assert split_whole("Hm.\n</think>\n\nHello.", "", expected=False, truncated=False) == ("Hm.", "Hello.")
    assert split_whole("<think>Hm.</think>Hello.", "", expected=False, truncated=False) == ("Hm.", "Hello.")


def test_an_answer_that_is_cut_is_no_thought_where_none_was_asked_for() -> None:
    assert split_whole("1 2 3", "", expected=False, truncated=True) == ("", "1 2 3")


@pytest.mark.parametrize("how", [{}, {"hold": True}, {"inline": True}])
def test_blanks_before_the_first_word_cost_no_more_the_more_they_are(how: dict[str, bool]) -> None:
    """Models that are forced to a format pad with blanks: 200,000 of them are done in a moment."""
    splitter = ThinkingSplitter(**how)
    for _ in range(200_000):
        splitter.content(" ")
    splitter.content("<think>a</think>b")
    assert splitter.finish(truncated=False) == ("", "")
