"""Arguments of tool calls that are JSON but for a slip that models make, and that can be read in one way only."""

from __future__ import annotations

import json
import re

_COMMA_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"|[{\[,:]\s*,|,(?=\s*[}\]])', re.DOTALL)


def repaired_arguments(text: str) -> str | None:
    """A JSON object from a text that is one but for commas before a closing bracket and line breaks inside strings.

    Nothing else is repaired: no missing bracket, quote or value, since it could only be guessed.

    Returns:
        The object as JSON text; `None` where the text needs no repair, or this repair does not make an object of it.
    """
    try:
        json.loads(text)
    except ValueError:
        pass
    except RecursionError:
        return None
    else:
        return None
    without_commas = _COMMA_OR_STRING.sub(lambda match: "" if match.group() == "," else match.group(), text)
    try:
        value = json.loads(without_commas, strict=False)
        return json.dumps(value, ensure_ascii=False, allow_nan=False) if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        return None


_PLAIN_INSIDE = re.compile(r'[^"\\\x00-\x1f]+')
_PLAIN_OUTSIDE = re.compile(r'[^",\s\]}]+')


class StreamRepair:
    """`repaired_arguments` for a text that comes in pieces: each is given as it came, but for the slips in it.

    A comma waits until what follows it is seen, so that one before a closing bracket can be left out.

    Attributes:
        changed: Something was repaired.
    """

    __slots__ = ("_before", "_escaped", "_held", "_in_string", "changed")

    def __init__(self) -> None:
        """Begin before the text."""
        self.changed = False
        self._held = ""  # a comma, and the white space behind it
        self._before = ""  # the last character outside strings that is no white space
        self._in_string = False
        self._escaped = False

    def feed(self, piece: str) -> str:
        """Take a piece and give what can be given of it."""
        given: list[str] = []
        at = 0
        while at < len(piece):
            pattern = _PLAIN_INSIDE if self._in_string else _PLAIN_OUTSIDE
            plain = None if self._escaped else pattern.match(piece, at)
            if plain is None:
                given.append(self._inside(piece[at]) if self._in_string else self._outside(piece[at]))
                at += 1
                continue
            given.append(plain[0] if self._in_string else self.release() + plain[0])
            self._before = self._before if self._in_string else plain[0][-1]
            at = plain.end()
        return "".join(given)

    def release(self) -> str:
        """Give what is held back: the text is over, or goes on in another way than with a bracket."""
        held, self._held = self._held, ""
        self._before = "," if held else self._before
        return held

    def _inside(self, character: str) -> str:
        if self._escaped or character == "\\":
            self._escaped = not self._escaped
            return character
        if character == '"':
            self._in_string, self._before = False, '"'
            return character
        self.changed = True  # a control character, which JSON has escaped
        return json.dumps(character)[1:-1]

    def _outside(self, character: str) -> str:
        if character.isspace():
            self._held += character if self._held else ""
            return "" if self._held else character
        if character == ",":
            given = self.release()
            if self._before in {"", "{", "[", ",", ":"}:  # not behind a value: no slip of a kind that is known
                return given + character
            self._held = character
            return given
        if character in "]}" and self._held:
            blanks, self._held, self._before = self._held[1:], "", character
            self.changed = True
            return blanks + character
        given = self.release() + character
        self._in_string, self._before = character == '"', character
        return given
