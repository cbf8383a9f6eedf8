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
   "these", "they", "this", "those", "to", "was", "we", "were", "what", "when", "where", "which", "who", "why",
