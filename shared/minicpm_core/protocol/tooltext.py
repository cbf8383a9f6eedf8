"""Tool calls that come as text, from servers without a parser for them, told apart from the text around.

The models write a call between `<tool_call>` and `</tool_call>`, as XML (V 4.6: `<function=name>` with a
`<parameter=key>` for each argument) or as JSON (V 4.5 and o 4.5: `{"name": …, "arguments": …}`).  The splitter takes
the answer in pieces, cut anywhere, and gives texts and calls in their order.  It is to be used only where the request
declared tools, and on the text alone, not on thoughts.

What is a call and what only speaks of one:

- a tag inside a fenced block of code, or right after a back quote, is text;
- a tag that neither `<function=` nor `{` follows is text;
- a call that never ends is a call all the same, with its arguments as they were received.

White space beside a call belongs to the template and is dropped, unless text stands on both sides.
"""

from __future__ import annotations

import re
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from minicpm_core.protocol.callbody import Kind, TextCall, ends_call, kind_of, read_calls

if TYPE_CHECKING:
    from collections.abc import Mapping

OPEN = "<tool_call>"
CLOSE = "</tool_call>"
_MARK = re.compile(r"</?tool_call>")
_FENCES = ("```", "~~~")
_LINE = 120
"""Characters of a line that are looked at to see whether it is a fence."""

Event: TypeAlias = "str | TextCall"


@dataclass(slots=True)
class _Fences:
    """Whether the text is inside a fenced block of code."""

    open: str = ""
    line: str = ""
    last: str = ""

    def advance(self, text: str) -> None:
        """Take the next characters of the text."""
        if not text:
            return
        first, *rest = text.split("\n")
        self.line = (self.line + first)[:_LINE]
        for part in rest:
            self._end_line()
            self.line = part[:_LINE]
        self.last = text[-1]

    def _end_line(self) -> None:
        line = self.line.strip()
        if self.open:
            if line.startswith(self.open) and not line.strip(self.open[0]):
                self.open = ""
        elif line.startswith(_FENCES):
            self.open = line[:3]


class ToolTextSplitter:
    """Splits the text of one choice, piece by piece.

    Args:
        tools: The JSON schema of the parameters of each declared tool, by its name: values are typed by it.
    """

    __slots__ = ("_body", "_called", "_fences", "_gap", "_held", "_in_call", "_kind", "_tail", "_texted", "_tools")

    def __init__(self, tools: Mapping[str, Mapping[str, Any]]) -> None:
        self._tools = tools
        self._fences = _Fences()
        self._held = ""  # white space, and what may be the beginning of a tag
        self._gap = ""  # white space around the last call: text only if text follows
        self._texted = False
        self._called = False  # nothing but white space came since the last call
        self._in_call = False
        self._kind: Kind | None = None
        self._body: list[str] = []
        self._tail = ""  # the end of the body, which may be the beginning of a tag

    def feed(self, piece: str) -> list[Event]:
        """Take a piece of the text."""
        events: list[Event] = []
        while piece:
            piece = self._go_on(piece, events) if self._in_call else self._text(piece, events)
        return events

    def release(self) -> str:
        """Give white space that is held back: what follows is no call in the text, but a native one."""
        if self._in_call or not self._held.isspace() or self._called:
            return ""
        held, self._held = self._held, ""
        self._fences.advance(held)
        return held

    def finish(self) -> list[Event]:
        """End the text."""
        events: list[Event] = []
        while self._in_call:
            body = self._take_body()
            head, mark, rest = body.partition(CLOSE)
            broken = mark and (OPEN in rest or not rest.strip())  # a tag that seemed to be part of a value ended it
            events += read_calls(head if broken else body, self._tools, closed=False)
            self._called = True
            events += self.feed(rest) if broken else []
        held, self._held = self._held, ""
        if held and not (self._called and held.isspace()):
            self._say(held, events)
        return events

    def pending_with(self, more: str) -> list[Event]:
        """What was taken and not yet given, as it would be if `more` came and the answer were cut there."""
        other = deepcopy(self, {id(self._tools): self._tools})
        return other.feed(more) + other.finish()

    def _text(self, piece: str, events: list[Event]) -> str:
        """Take text up to a call, and give what follows the call's tag."""
        text = self._held + piece
        self._held = ""
        at, done = text.find(OPEN), 0
        while at >= 0:
            before = text[done:at]
            if self._is_live(before):
                said = before.rstrip()
                self._say(said, events)
                blanks = before[len(said) :]
                self._fences.advance(blanks)
                self._gap = blanks or self._gap
                self._begin()
                return text[at + len(OPEN) :]
            self._say(text[done : at + len(OPEN)], events)
            done = at + len(OPEN)
            at = text.find(OPEN, done)
        text = text[done:]
        kept = len(text) - _partial(text)
        kept = len(text[:kept].rstrip())
        self._held = text[kept:]
        self._say(text[:kept], events)
        return ""

    def _is_live(self, before: str) -> bool:
        """Whether a tag after this text begins a call, and is not part of what the text speaks about."""
        fences = copy(self._fences)
        fences.advance(before)
        return not fences.open and fences.last != "`"

    def _say(self, text: str, events: list[Event]) -> None:
        if not text:
            return
        self._fences.advance(text)
        if self._called:
            said = text.lstrip()
            text = (text[: len(text) - len(said)] or self._gap) + said if self._texted else said
        self._called, self._texted, self._gap = False, True, ""
        events.append(text)

    def _begin(self) -> None:
        self._in_call = True
        self._kind = None
        self._body = []
        self._tail = ""

    def _go_on(self, piece: str, events: list[Event]) -> str:
        """Take more of a call, and give what follows it."""
        window = self._tail + piece
        self._body.append(piece)
        self._tail = window[1 - len(CLOSE) :]
        if self._kind is None:
            body = "".join(self._body)
            self._kind = kind_of(body)
            if self._kind is Kind.NONE:
                self._in_call, self._body = False, []
                self._say(self._no_call(), events)
                return body
        if self._kind is None or not _MARK.search(window):
            return ""
        return self._end_at_mark(events)

    def _no_call(self) -> str:
        """The tag as text, with the white space before it."""
        gap, self._gap = self._gap, ""
        return gap + OPEN

    def _end_at_mark(self, events: list[Event]) -> str:
        body = "".join(self._body)
        for mark in _MARK.finditer(body):
            head = body[: mark.start()]
            if ends_call(head, self._kind, begins_another=mark.group() == OPEN):
                events += read_calls(head, self._tools, closed=True)
                self._in_call, self._called, self._body = False, True, []
                self._fences.last = ">"
                return body[mark.start() if mark.group() == OPEN else mark.end() :]
        self._body = [body]
        return ""

    def _take_body(self) -> str:
        body = "".join(self._body)
        self._in_call, self._body = False, []
        self._fences.last = ">"
        return body


def _partial(text: str) -> int:
    """How many characters at the end of the text may be the beginning of a call's tag."""
    for length in range(min(len(text), len(OPEN) - 1), 0, -1):
        if OPEN.startswith(text[-length:]):
            return length
    return 0
