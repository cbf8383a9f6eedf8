"""Bodies that are too large to be put together in memory: what they consist of, and how long they are.

Nothing is read here: the shells read the files while they send (`minicpm_core._uploads`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from minicpm_core.parts import FileBody

if TYPE_CHECKING:
    from collections.abc import Sequence

Segment: TypeAlias = bytes | FileBody
"""Bytes to be sent as they are, or a file to be sent as Base64."""

ONE_PIECE = 1024 * 1024
"""Bytes up to which a body is put together, if nothing in it is a file. Larger ones are not copied once more."""

_INDEX_DIGITS = 6


@dataclass(frozen=True, slots=True)
class PiecedBody:
    """A body that is sent piece by piece. It can be sent any number of times.

    Attributes:
        segments: In order.
    """

    segments: tuple[Segment, ...] = field(repr=False)

    def __len__(self) -> int:
        """Its exact number of bytes when sent (Content-Length), as far as the files stay as they are."""
        return sum(sent_size(segment) for segment in self.segments)


def sent_size(segment: Segment) -> int:
    """How many bytes a segment is when sent. Base64 turns each 3 bytes, or the rest of them, into 4 (RFC 4648)."""
    return -(-segment.size // 3) * 4 if isinstance(segment, FileBody) else len(segment)


class Splicer:
    """Stands marks in for large texts while the rest of a body is encoded, and puts the texts in their places.

    Args:
        mark: A text that nothing else in the body holds, of characters that JSON leaves as they are.
    """

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._segments: list[Segment] = []

    def mark(self, segment: Segment) -> str:
        """The text that stands in for a segment: Base64 in ASCII bytes, or a file to be sent as such."""
        self._segments.append(segment)
        return f"{self._mark}{len(self._segments) - 1:0{_INDEX_DIGITS}d}"

    def spliced(self, text: bytes) -> bytes | PiecedBody:
        """The body with each segment in place of its mark: as one where it is small, else in pieces."""
        if not self._segments:
            return text
        first, *others = text.split(self._mark.encode())
        found: list[Segment] = [first]
        for other in others:
            found += (self._segments[int(other[:_INDEX_DIGITS])], other[_INDEX_DIGITS:])
        return _joined(found)


def _joined(segments: Sequence[Segment]) -> bytes | PiecedBody:
    small = [segment for segment in segments if isinstance(segment, bytes)]
    if len(small) == len(segments) and sum(map(len, small)) <= ONE_PIECE:
        return b"".join(small)
    return PiecedBody(tuple(segment for segment in segments if sent_size(segment)))
