"""Server-sent events from bytes.

Strategy: lines are cut in *bytes*, at LF, CR and CRLF only, as the HTML standard says (section 9.2.6).  JSON may hold
U+2028, U+0085 and cut UTF-8 sequences; none of these bytes is a line end, so nothing needs to be decoded here.
One-line `data: ` events, which is what every server sends nearly always, take a short way, however many came at once;
everything else takes the general way, whose result is the same.
"""

from __future__ import annotations

from typing import TypeAlias

Event: TypeAlias = tuple[str, bytes]
"""The event's type (empty unless an `event:` line names one) and its data, lines joined by LF."""

_BOM = b"\xef\xbb\xbf"


class SSEDecoder:
    """Turns a byte stream, cut anywhere, into events. An event without data is not an event."""

    __slots__ = ("_at_start", "_data", "_event", "_skip_lf", "_tail")

    def __init__(self) -> None:
        """Begin a stream."""
        self._tail: list[bytes] = []  # pieces of a line that has not ended: joined once, so long lines stay linear
        self._data: list[bytes] = []
        self._event = ""
        self._at_start = True
        self._skip_lf = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes and give the events that they complete."""
        if self._skip_lf and chunk:
            self._skip_lf = False
            chunk = chunk.removeprefix(b"\n")
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if end == 0:
            if chunk:
                self._tail.append(chunk)
            return []
        lines = chunk[:end]
        if self._tail:
            lines = b"".join((*self._tail, lines))
        self._tail = [chunk[end:]] if end < len(chunk) else []
        if b"\r" in lines:
            self._skip_lf = lines.endswith(b"\r")
        elif not (self._data or self._event):
            return self._feed_events(lines)
        return self._feed_lines(lines)

    def flush(self) -> list[Event]:
        """End the stream: an event that no blank line closed is given too, since some servers omit it."""
        events = self.feed(b"\n\n") if self._tail or self._data else []
        self._data, self._event = [], ""
        return events

    def _feed_events(self, lines: bytes) -> list[Event]:
        """The short way, for whole lines that begin an event."""
        whole, _, rest = lines.rpartition(b"\n\n")
        events: list[Event] = []
        for block in whole.split(b"\n\n") if whole else ():
            if block[:6] != b"data: " or b"\n" in block or len(block) == 6:  # noqa: PLR2004 - the length of "data: "
                return self._feed_lines(lines)
            events.append(("", block[6:]))
        if events:
            self._at_start = False
        return events + self._feed_lines(rest) if rest else events

    def _feed_lines(self, lines: bytes) -> list[Event]:
        events: list[Event] = []
        for line in lines.splitlines():
            self._line(line, events)
        return events

    def _line(self, line: bytes, events: list[Event]) -> None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            data = b"\n".join(self._data)
            if data:
                events.append((self._event, data))
            self._data, self._event = [], ""
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        # a comment (an empty name), `id`, `retry` and unknown fields mean nothing to a single answer
