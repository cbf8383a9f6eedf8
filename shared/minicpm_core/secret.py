"""The key, in a box that does not open by accident."""

from __future__ import annotations

import re
from typing import Any

MASK = "**********"
_SHORTEST = 4


class Secret:
    """A text that is never shown: not by `repr`, `str`, `format` or a log, and not carried by a pickle.

    A copy in the same process (`copy.copy`, `copy.deepcopy`) keeps the value.  A pickle does not: the process that
    loads it reads its key from the environment again.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Hold `value`."""
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        """A mask."""
        return f"Secret('{MASK}')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        """Equal where the values are."""
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        """Of the value."""
        return hash(self._value)

    def __copy__(self) -> Secret:
        """Itself: it never changes."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        """Itself: it never changes."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the value behind."""
        return (_lost, ())


def _lost() -> None:
    """What a pickled secret becomes."""
    return


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """The text with every secret in it replaced by a mask, also where it is escaped for JSON or a URL, even twice.

    Secrets shorter than four characters are flags such as `1` or `x`, whose masking would only garble the text.
    """
    for secret in sorted(secrets, key=len, reverse=True):  # the longest first: one may be a part of another
        if len(secret) >= _SHORTEST:
            text = re.sub("".join(map(_spellings, secret)), MASK, text)
    return text


def _spellings(character: str) -> str:
    """A pattern for a character as it is, after backslashes, and by its code in a URL or in JSON."""
    escape, code = r"\\{0,8}", f"{ord(character):02x}"
    return rf"(?:{escape}{re.escape(character)}|(?i:%{code}|{escape}u00{code}))"
