"""The text tasks that the emulator knows: each rule gives an answer or leaves the question to the next."""

from __future__ import annotations

import re
from decimal import Decimal, DivisionByZero, InvalidOperation
from typing import TYPE_CHECKING

from minicpm_core.emulator.clues import first_sentence
from minicpm_core.emulator.describe import NOTE

if TYPE_CHECKING:
    from minicpm_core.emulator.chat import ChatRequest

_ECHO = re.compile(
    r"\s*(?:please\s+)?(?:repeat(?:\s+after\s+me|\s+exactly|\s+the\s+following)?|echo|say(?:\s+exactly)?"
    r"|(?:reply|respond|answer)\s+with(?:\s+exactly|\s+only)?)\b\s*[:,]?\s*(.+)",
    re.IGNORECASE | re.DOTALL,
)
_QUOTES = {'"': '"', "'": "'", "“": "”", "`": "`", "「": "」"}
_COUNT = re.compile(r"\bcount\s+(?:up\s+)?(?:from\s+(-?\w+)\s+)?to\s+(-?\w+)", re.IGNORECASE)
_MOST = 10_000
_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred")
_WORDS = {word: at for at, word in enumerate(_UNITS)} | {word: 10 * at for at, word in enumerate(_TENS, 2)}
_SUM = re.compile(
    r"\s*(?:what(?:'s|\s+is)|calculate|compute|how\s+much\s+is|solve)?\s*(-?\d{1,15}(?:\.\d{1,15})?)\s*"
    r"([-+*/x\u00d7\u00f7\u2212]|plus|minus|times|divided\s+by)\s*(-?\d{1,15}(?:\.\d{1,15})?)\s*[=?.\s]*",
    re.IGNORECASE,
)
_SIGNS = {"plus": "+", "minus": "-", "times": "*", "x": "*", "\u00d7": "*", "\u00f7": "/", "\u2212": "-"}
_FACT = re.compile(r"\bmy\s+([\w\s]{1,40}?)\s+is\s+([^.!?\n]+)", re.IGNORECASE)
_ASKS_FACT = re.compile(r"\b(?:what|who)(?:'s|\s+is|\s+was)\s+my\s+([\w\s]{1,40}?)\s*[?.]?\s*$", re.IGNORECASE)
_IDENTITY = re.compile(r"\b(?:who|what)\s+are\s+you\b|\bintroduce\s+yourself\b|你是谁", re.IGNORECASE)
_ROLE = re.compile(r"\byou\s*(?:are|'re)\s+((?:an?|the)\s+[^.!?\n]+|[^.!?\n]+)", re.IGNORECASE)
_SUMMARY = re.compile(r"\b(?:summar\w+|tl;?dr)\b", re.IGNORECASE)


def echo(request: ChatRequest) -> str | None:
    """`Repeat after me: …`, `Say …`: the words that follow, without quotes around them."""
    match = _ECHO.fullmatch(request.question.text)
    if match is None:
        return None
    words = match[1].strip()
    closing = _QUOTES.get(words[0])
    quoted = words.rstrip(".!")
    return quoted[1:-1] if closing and len(quoted) > 1 and quoted.endswith(closing) else words


def count(request: ChatRequest) -> str | None:
    """`Count to N`, `Count from A to B`, in digits or words."""
    match = _COUNT.search(request.question.text)
    if match is None:
        return None
    first, last = _whole(match[1] or "1"), _whole(match[2])
    if first is None or last is None:
        return None
    if abs(last - first) > _MOST:
        return f"That is further than I count ({_MOST} numbers). {NOTE}"
    step = 1 if last >= first else -1
    return " ".join(map(str, range(first, last + step, step)))


def _whole(written: str) -> int | None:
    try:
        return int(written)
    except ValueError:
        return _WORDS.get(written.lower())


def arithmetic(request: ChatRequest) -> str | None:
    """`What is 2 + 3?`: two numbers and a sign, nothing else."""
    match = _SUM.fullmatch(request.question.text)
    if match is None:
        return None
    sign = _SIGNS.get(match[2].lower().split()[0], "/" if "divided" in match[2].lower() else match[2])
    left, right = Decimal(match[1]), Decimal(match[3])
    try:
        result = {"+": left + right, "-": left - right, "*": left * right}.get(sign)
        result = left / right if result is None else result
    except (DivisionByZero, InvalidOperation):
        return f"{match[1]} {sign} {match[3]} has no value: nothing can be divided by zero."
    return f"{match[1]} {sign} {match[3]} = {result.normalize():f}"


def memory(request: ChatRequest) -> str | None:
    """`My name is Ada.` … `What is my name?`: what the user has told before, the latest first."""
    asked = _ASKS_FACT.search(request.question.text)
    told = [
        (match[1].lower(), match[2].strip())
        for turn in request.turns
        if turn.role == "user"
        for match in _FACT.finditer(turn.text)
    ]
    if asked is None:
        now = _FACT.search(request.question.text)
        return f"Noted: your {now[1].lower()} is {now[2].strip()}." if now else None
    what = asked[1].lower()
    known = next((value for name, value in reversed(told) if name == what), None)
    return f"Your {what} is {known}." if known else f"You have not told me your {what}."


def identity(request: ChatRequest) -> str | None:
    """`Who are you?`: what the system message says (`You are X.`), or the truth."""
    if not _IDENTITY.search(request.question.text):
        return None
    first = request.turns[0]
    role = _ROLE.search(first.text) if first.role == "system" else None
    return f"I am {role[1].strip()}." if role else f"I am the MiniCPM emulator: I answer by rule. {NOTE}"


def summary(request: ChatRequest) -> str | None:
    """`Summarise: …`: the first sentence of what follows, or of the turn before."""
    text = request.question.text
    if not _SUMMARY.search(text):
        return None
    _, _, body = text.partition(":") if ":" in text else text.partition("\n")
    before = [
        turn.text for turn in request.turns if turn.text and turn is not request.question and turn.role != "system"
    ]
    source = body.strip() or (before[-1] if before else "")
    return first_sentence(source) if source else None


def received(request: ChatRequest) -> str:
    """What came in: the answer to everything else."""
    text = request.question.text.strip()
    cut = text if len(text) <= 200 else f"{text[:199].rstrip()}…"  # noqa: PLR2004
    messages = f"{len(request.turns)} message{'s' * (len(request.turns) != 1)}"
    words = len(text.split())
    return f"I received {messages}. The last of the user has {words} word{'s' * (words != 1)}: “{cut}” {NOTE}"
