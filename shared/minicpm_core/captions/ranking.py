"""Which captions fit a question: BM25 over their words, by bm25s (extra `[search]`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CJK = "\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
_WORDS = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
"""A character of a script that does not part its words counts as one."""

_COMMON = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "by", "did", "do", "does", "for", "from", "had", "has", "have", "how",
    "i", "in", "is", "it", "its", "me", "my", "of", "on", "or", "our", "show", "that", "the", "their", "there",
    "these", "they", "this", "those", "to", "was", "we", "were", "what", "when", "where", "which", "who", "why",
    "will", "with", "you", "your",
})  # fmt: skip
"""Words of questions that say nothing of pictures."""


def words_of(text: str) -> list[str]:
    """The words that count, in lower case; the plural's s is left out, so that `cats` finds `cat`."""
    found = (word for word in _WORDS.findall(text.lower()) if word not in _COMMON)
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in found]  # noqa: PLR2004


def ranked(question: str, texts: Sequence[str]) -> list[tuple[int, float]]:
    """The texts that have a word of the question, the best first.

    Args:
        question: Any text.
        texts: What is searched.

    Returns:
        Positions in `texts` and scores above 0; of equal scores the first text first.

    Raises:
        ConfigurationError: bm25s is not installed.
    """
    try:
        from bm25s import BM25
    except ImportError as error:
        raise ConfigurationError('Searching needs bm25s: pip install "minicpm-integrations[search]"') from error
    asked, corpus = words_of(question), [words_of(text) for text in texts]
    if not asked or not any(corpus):
        return []
    index: Any = BM25()
    index.index(corpus, show_progress=False)
    scores: list[float] = index.get_scores(asked).tolist()
    best = sorted(range(len(scores)), key=lambda at: (-scores[at], at))
    return [(at, scores[at]) for at in best if scores[at] > 0]
