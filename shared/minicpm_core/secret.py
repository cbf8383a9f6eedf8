"""The key, in a box that does not open by accident."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

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
    """The text with every secret in it replaced by a mask, also where it is escaped for JSON or a URL.

    Secrets shorter than four characters are flags such as `1` or `x`, whose masking would only garble the text.
    """
    spellings = {spelling for secret in secrets if len(secret) >= _SHORTEST for spelling in _spellings(secret)}
    for spelling in sorted(spellings, key=len, reverse=True):  # the longest first: one may be a part of another
        text = text.replace(spelling, MASK)
    return text


def _spellings(secret: str) -> tuple[str, ...]:
    escaped = json.dumps(secret)[1:-1]
    return secret, escaped, escaped.replace("/", "\\/"), quote(secret), quote(secret, safe="")
