"""Prepared pictures and videos, kept for the next time: an agent sends the same ones at every step.

One cache for the whole process.  Its keys are hashes of the content (of a video in a file: which file it is, its size
and when it was changed) together with all that was asked of its
preparation, so that nothing stale can come out of it.  It holds only what took work, never a file that is sent as it
is, and no more than a bounded number of bytes.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from minicpm_core.errors import ConfigurationError
from minicpm_core.parts import FramesPart, ImagePart, VideoPart

if TYPE_CHECKING:
    from collections.abc import Hashable

    from minicpm_core.parts import Prepared

DEFAULT_BYTES: Final = 64 * 1024 * 1024

_ENTRY = 512
"""Bytes counted for each part beside its text."""


class CacheInfo(NamedTuple):
    """How the cache is doing.

    Attributes:
        hits: Pictures that were found since it was made or cleared.
        misses: Pictures that were not.
        entries: Pictures in it.
        bytes: What they take.
        max_bytes: The most that they may take.
    """

    hits: int
    misses: int
    entries: int
    bytes: int
    max_bytes: int


class PictureCache:
    """Prepared pictures, the least recently used ones dropped first. Any thread may use it.

    Args:
        max_bytes: The most that it holds; 0 keeps nothing.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Prepared, ...]] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = self._hits = self._misses = 0

    def get(self, key: Hashable) -> tuple[Prepared, ...] | None:
        """What was kept under a key, or `None`."""
        with self._lock:
            parts = self._kept.get(key)
            if parts is None:
                self._misses += 1
            else:
                self._hits += 1
                self._kept.move_to_end(key)
            return parts

    def put(self, key: Hashable, parts: tuple[Prepared, ...]) -> None:
        """Keep parts, and drop others as needed. What is larger than the whole cache is not kept."""
        size = _size(parts)
        with self._lock:
            if key in self._kept:
                self._bytes -= _size(self._kept.pop(key))
            if size <= self._max_bytes:
                self._kept[key] = parts
                self._bytes += size
            self._shrink()

    def clear(self) -> None:
        """Forget all pictures and counts."""
        with self._lock:
            self._kept.clear()
            self._bytes = self._hits = self._misses = 0

    def resize(self, max_bytes: int) -> None:
        """Set how much it may hold, and drop what is too much.

        Raises:
            ConfigurationError: `max_bytes` is negative.
        """
        if max_bytes < 0:
            raise ConfigurationError(f"The cache of pictures must have 0 bytes or more, not {max_bytes}.")
        with self._lock:
            self._max_bytes = max_bytes
            self._shrink()

    def info(self) -> CacheInfo:
        """Its counts."""
        with self._lock:
            return CacheInfo(self._hits, self._misses, len(self._kept), self._bytes, self._max_bytes)

    def after_fork(self) -> None:
        """In a child process: begin anew, since another thread may have held the lock at the fork."""
        self._lock = threading.Lock()
        self.clear()

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes:
            self._bytes -= _size(self._kept.popitem(last=False)[1])


def _size(parts: tuple[Prepared, ...]) -> int:
    return sum(_bytes(part) + _ENTRY for part in parts)


def _bytes(part: Prepared) -> int:
    if isinstance(part, ImagePart):
        return len(part.base64)
    if isinstance(part, FramesPart):
        return sum(map(len, part.frames))
    return len(part.data) if isinstance(part, VideoPart) and isinstance(part.data, bytes) else 0


PICTURES: Final = PictureCache()
"""The process's own."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PICTURES.after_fork)


def image_cache_info() -> CacheInfo:
    """How the cache of prepared pictures is doing."""
    return PICTURES.info()


def clear_image_cache() -> None:
    """Forget all prepared pictures, and begin to count anew."""
    PICTURES.clear()


def set_image_cache_bytes(max_bytes: int) -> None:
    """Set how many bytes of prepared pictures are kept (64 MiB unless set); 0 keeps none.

    Raises:
        ConfigurationError: `max_bytes` is negative.
    """
    PICTURES.resize(max_bytes)
