"""No test finds what another has left in the process's cache of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from minicpm_core.media.cache import DEFAULT_BYTES, clear_image_cache, set_image_cache_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    clear_image_cache()
    yield
    set_image_cache_bytes(DEFAULT_BYTES)
