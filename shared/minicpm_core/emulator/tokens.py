"""The emulator's own tokens: what it counts, cuts and streams by.

A token is a word of at most sixteen characters, a single character of a script without blanks between words (Chinese,
Japanese, Korean), or any other single character; white space belongs to the token after it.  That is not a model's
tokeniser, but counts come out near one for English and Chinese, and the tokens of a text joined give the text.
"""

from __future__ import annotations

import re

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003fffd"
_TOKEN = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\W{_UNSPACED}]{{1,16}}|[^\w\s])|\s+")

TURN_TOKENS = 4
"""What a turn costs beside its text: its two marks, its role, a newline."""
ANSWER_TOKENS = 3
"""What the opening of the answer costs."""


def tokens(text: str) -> list[str]:
    """The tokens of a text, in order; joined they give the text."""
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """How many tokens a text has."""
    return len(tokens(text))
