"""Reasoning and answer told apart.

Servers hand thoughts over in five ways: in `reasoning`, in `reasoning_content`, as `<think>…</think>` at the head of
the text, as text before a lone `</think>` (the chat template wrote the opening tag itself), or as a `<think>` that
never closes because the answer was cut.  `ThinkingSplitter` turns all of them into two streams, `reasoning` and
`text`, whatever the cuts between pieces.  A whole reply takes the same way as a stream of one piece, so both agree.

The line breaks that the template puts around thoughts belong to neither and are dropped: those at both ends of the
reasoning and those at the head of the text.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TypeAlias

OPEN = "<think>"
CLOSE = "</think>"
_CALL = "<tool_call>"
_BREAKS = "\r\n"
_QUOTES = frozenset("`'\"")

Split: TypeAlias = tuple[str, str]
"""`(reasoning, text)`, either of which may be empty."""


class _State(Enum):
    START = auto()  # nothing but blanks and perhaps the beginning of `<think>`
    HELD = auto()  # a lone `</think>` may still come: what was read is neither reasoning nor text yet
    THINKING = auto()  # inside thoughts, `</think>` will end them
    TEXT = auto()


class ThinkingSplitter:
    """Splits one choice's content, piece by piece.

    Args:
        hold: Thoughts without an opening tag may come: keep the content back until `</think>` or the end tells.
        inline: The server is known to send thoughts without an opening tag: hand them out as they come.
    """

    __slots__ = (
        "_breaks", "_buffer", "_hold", "_inline", "_reasoned", "_state", "_tail", "_text_begun", "saw_lone_close",
    )  # fmt: skip

    def __init__(self, *, hold: bool = False, inline: bool = False) -> None:
        self._hold = hold
        self._inline = inline
        self._state = _State.START
        self._buffer: list[str] = []
        self._tail = ""  # what of the buffer may be a part of the next tag: its head at the start, its end while held
        self._breaks = ""  # line breaks at the end of the reasoning so far: dropped unless more reasoning follows
        self._reasoned = False
        self._text_begun = False
        self.saw_lone_close = False

    def reasoning(self, piece: str) -> Split:
        """Take a piece from a reasoning field."""
        if self._state in {_State.START, _State.HELD}:
            # with a field of its own for thoughts, what was held back, and tags in the content, are content
            return self._trim_reasoning(piece), self._release_as_text().lstrip(_BREAKS)
        return self._trim_reasoning(piece), ""

    def content(self, piece: str) -> Split:
        """Take a piece of content."""
        if self._state is _State.TEXT:
            return "", self._trim_text(piece)
        self._buffer.append(piece)
        if self._state is _State.START:
            return self._start(piece)
        if self._state is _State.HELD:
            window = self._tail + piece
            self._tail = window[1 - len(CLOSE) :]
            if CLOSE not in window:
                return "", ""
        return self._until_close()

    def finish(self, *, truncated: bool) -> Split:
        """End the content. `truncated`: the answer was cut by a token limit."""
        rest = "".join(self._buffer)
        self._buffer = []
        if self._state is _State.THINKING or (self._state is _State.HELD and truncated):
            return self._trim_reasoning(rest), ""
        return "", self._trim_text(rest)

    @property
    def in_text(self) -> bool:
        """Whether further content is text without more ado."""
        return self._text_begun

    @property
    def pending(self) -> Split:
        """What was taken and not yet given, as it would be told apart if the answer were cut here."""
        rest = "".join(self._buffer)
        if self._state in {_State.THINKING, _State.HELD}:
            rest = self._breaks + rest if self._reasoned else rest.lstrip(_BREAKS)
            return rest.rstrip(_BREAKS), ""
        return "", rest if self._text_begun else rest.lstrip(_BREAKS)

    def _start(self, piece: str) -> Split:
        head = self._tail + piece if self._tail else piece.lstrip()
        if len(head) < len(OPEN) and OPEN.startswith(head):
            self._tail = head
            return "", ""
        self._tail = ""
        if head.startswith(OPEN):
            self._state = _State.THINKING
            self._buffer = [head[len(OPEN) :]]
            return self._until_close()
        if self._inline:
            self._state = _State.THINKING
            return self._until_close()
        if self._hold:
            self._state = _State.HELD
            return self._until_close()
        return "", self._release_as_text()

    def _until_close(self) -> Split:
        head = "".join(self._buffer)
        before, tag, after = head.partition(CLOSE)
        if tag:
            self.saw_lone_close = self.saw_lone_close or self._state is _State.HELD
            self._state = _State.TEXT
            self._buffer = []
            reasoning = self._trim_reasoning(before)
            self._reasoned = True
            return reasoning, self._trim_text(after)
        if self._state is _State.HELD:
            self._tail = head[1 - len(CLOSE) :]
            return "", ""
        keep = _partial_close(head)
        self._buffer = [head[len(head) - keep :]] if keep else []
        return self._trim_reasoning(head[: len(head) - keep]), ""

    def _release_as_text(self) -> str:
        text = "".join(self._buffer)
        self._buffer = []
        self._state = _State.TEXT
        return self._trim_text(text)

    def _trim_reasoning(self, piece: str) -> str:
        if not self._reasoned:
            piece = piece.lstrip(_BREAKS)
            if not piece:
                return ""
            self._reasoned = True
        piece = self._breaks + piece
        kept = piece.rstrip(_BREAKS)
        self._breaks = piece[len(kept) :]
        return kept

    def _trim_text(self, piece: str) -> str:
        if self._text_begun or not piece:
            return piece
        piece = piece.lstrip(_BREAKS)
        self._text_begun = bool(piece)
        return piece


def _partial_close(text: str) -> int:
    """How many characters at the end of `text` may be the beginning of `</think>`."""
    for length in range(min(len(text), len(CLOSE) - 1), 0, -1):
        if CLOSE.startswith(text[-length:]):
            return length
    return 0


def split_whole(content: str, reasoning: str, *, expected: bool, truncated: bool) -> Split:
    """Reasoning and text of a whole reply.

    A lone `</think>` ends thoughts also where none were asked for, since some servers do not know the switch; then,
    though, one that stands in quotes, in the arguments of a call or closes a `<think>` in mid-sentence is what the
    answer talks about.

    Args:
        content: The reply's content.
        reasoning: The reply's reasoning field, empty if there is none.
        expected: Whether the request made the model think.
        truncated: Whether the answer was cut by a token limit.
    """
    splitter = ThinkingSplitter(hold=expected or _has_lone_close(content))
    first = splitter.reasoning(reasoning) if reasoning else ("", "")
    second = splitter.content(content) if content else ("", "")
    third = splitter.finish(truncated=truncated and expected)
    return first[0] + second[0] + third[0], first[1] + second[1] + third[1]


def _has_lone_close(content: str) -> bool:
    before, tag, after = content.partition(CLOSE)
    quoted = before[-1:] in _QUOTES and before[-1:] == after[:1]
    return bool(tag) and not quoted and OPEN not in before and _CALL not in before
