"""What a text offers for filling in forms: named values, quoted words, names, numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMED = re.compile(
    r"""["'`]?\b([A-Za-z]\w*)["'`]?\s*(?::|=|\bis\b)\s*(?:"([^"]*)"|'([^']*)'|(-?\d+(?:\.\d+)?)|([^\s,;.!?][^,;.!?\n]*))"""
)
_CALLED = re.compile(r"\b(?:named|called)\s+", re.IGNORECASE)
_QUOTED = re.compile(r'"([^"\n]+)"|(?<!\w)\'([^\'\n]+)\'(?!\w)|`([^`\n]+)`|“([^”\n]+)”|「([^」\n]+)」')
_PROPER = re.compile(r"(?<![.!?:\n] )(?<!^)\b[A-Z][\w'-]*(?:,? [A-Z][\w'-]*)*", re.MULTILINE)
_PHRASE = re.compile(r"\b(?:about|in|at|for|from|of|to|into)\s+([^,;.!?\n]+)", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")
_SENTENCE = re.compile(r"\s*(.+?[.!?\u3002\uff01\uff1f](?=\s|$)|.+?$)", re.MULTILINE)
_LISTED = (
    r"""(?:"[^"\n]+"|(?<!\w)'[^'\n]+'(?!\w)|(?<![.!?:\n] )(?<!^)\b[A-ZÀ-ÖØ-Þ][\w'-]*(?: [A-ZÀ-ÖØ-Þ][\w'-]*){0,4}"""
    r"""(?:, [A-Z]{2}\b)?)"""
)
_LIST = re.compile(rf"{_LISTED}(?:, {_LISTED}){{0,16}},? (?:and|or|&|und|et|y) {_LISTED}", re.MULTILINE)
_LISTED_ITEM = re.compile(_LISTED, re.MULTILINE)
_NUMBERS = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:, -?\d+(?:\.\d+)?){0,16},? (?:and|or|&) -?\d+(?:\.\d+)?(?!\w)")
_WHO = re.compile(r"\b([A-Z][\w'-]*(?: [A-Z][\w'-]*){0,4}) (?:is|was|has|lives|works)\b")
_NO_NAMES = frozenset({
    "He", "Here", "How", "It", "She", "That", "The", "There", "This", "Today", "What", "When", "Where", "Which", "Who",
    "Why",
})  # fmt: skip
_FILE = re.compile(r"(?<![\w@./])[\w/-]+\.[a-z]{2,4}(?![\w])", re.ASCII)
_COUNTED = re.compile(r"(?<![\w.])(-?\d+(?:\.\d+)?)\s+([A-Za-z]{3,})\b")
_WORDS = re.compile(r"\b\w[\w-]*(?:, \w[\w-]*){1,16},? (?:and|or) \w[\w-]*")
_BETWEEN = re.compile(r",? (?:and|or) |, ")
_COMMON = frozenset({"A", "AI", "An", "I", "I'm", "JSON", "The", "Use", "Using"})


@dataclass(slots=True)
class Clues:
    """What a text offers. The sequences are used up: each value is taken once, in its order.

    Attributes:
        text: The text itself.
        named: Values by a name in lower case, with blanks between its words.
        strings: Words worth taking.
        numbers: Numbers.
    """

    text: str
    named: dict[str, Any] = field(default_factory=dict[str, Any])
    strings: Iterator[str] = field(default_factory=lambda: iter(()))
    numbers: Iterator[float] = field(default_factory=lambda: iter(()))

    def value(self, name: str) -> Any:
        """The value of a property that the text names; `None` if it names none.

        Args:
            name: The property's name, such as `customer_name`: its last word alone will do.
        """
        key = key_of(name)
        return self.named.get(key, self.named.get(key.rsplit(" ", 1)[-1]))


def key_of(name: str) -> str:
    """A property's name as `Clues.named` has it: in lower case, with blanks between its words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\-\s]+", " ", name).lower()


def coordinated(text: str) -> list[str]:
    """The names or quoted words that a text lists with "and" or "or": `Paris, Rome and Oslo`; none without a list."""
    found = _LIST.search(text)
    if found is None:
        return []
    return list(dict.fromkeys(item.strip("\"'") for item in _LISTED_ITEM.findall(text, found.start(), found.end())))


def listed(text: str, name: str) -> list[str]:
    """The members of a list in a text: `name: a, b`, names with "and" between them, or `red, green and blue`.

    Args:
        text: Where to look.
        name: Of the property that is to hold them.
    """
    named = re.search(rf"\b{re.escape(key_of(name))}\b\s*[:=]\s*([^.;\n]+)", text, re.IGNORECASE) if name else None
    found = named or (None if coordinated(text) else _WORDS.search(text))
    return _BETWEEN.split(found[found.lastindex or 0].strip()) if found else coordinated(text)


def coordinated_numbers(text: str) -> list[float]:
    """The numbers that a text lists with "and" or "or"; none without a list."""
    found = _NUMBERS.search(text)
    return [float(match[0]) for match in _NUMBER.finditer(found[0])] if found else []


def has_values(text: str) -> bool:
    """Whether a text has something to fill in: a number, a name, quoted words."""
    return any(pattern.search(text) for pattern in (_QUOTED, _PROPER, _NUMBER))


def clues_in(text: str, known: dict[str, Any] | None = None) -> Clues:
    """What a text offers.

    Args:
        text: Of the user, or of a tool.
        known: Values that were measured; they win over the text's.
    """
    named: dict[str, Any] = {}
    for match in _NAMED.finditer(text):
        named.setdefault(match[1].lower(), next(group for group in match.groups()[1:] if group is not None).strip())
    for match in _COUNTED.finditer(text):
        named.setdefault(match[2].lower(), match[1])
    who = next((match[1] for match in _WHO.finditer(text) if match[1] not in _NO_NAMES), None)
    if who:
        named.setdefault("name", who)
    called = _CALLED.search(text)
    quoted = [next(filter(None, match.groups())) for match in _QUOTED.finditer(text)]
    proper = [match[0].rstrip("'-") for match in _PROPER.finditer(text) if match[0] not in _COMMON]
    if called:
        name = _QUOTED.match(text, called.end()) or _PROPER.match(text, called.end())
        if name:
            named["name"] = next(filter(None, name.groups()), name[0])
    files = _FILE.findall(text)
    phrases = [match[1].strip() for match in _PHRASE.finditer(text)]
    phrases = [phrase for phrase in phrases if not any(name in phrase for name in (*quoted, *proper, *files))]
    return Clues(
        text=text,
        named=named | (known or {}),
        strings=iter(dict.fromkeys([*quoted, *proper, *files, *phrases])),
        numbers=iter([float(match[0]) for match in _NUMBER.finditer(text)]),
    )


def first_sentence(text: str, most: int = 200) -> str:
    """The first sentence of a text, cut to a number of characters."""
    match = _SENTENCE.match(text)
    sentence = match[1].strip() if match else text.strip()
    return sentence if len(sentence) <= most else f"{sentence[: most - 1].rstrip()}…"
