"""Media: read, checked and prepared for the server before anything is sent, and what they cost in tokens.

    source = image_from_path(Path("photo.jpg"))     nothing is read yet
    (part,) = load_image(source, accept=frozenset({"image/jpeg", "image/png"}))
    count_image_tokens((part.width, part.height), "MiniCPM-V-4.6-1B")

Pillow, PyAV and pypdfium2 (extra `[media]`) are imported only when something has to be decoded.  A picture that can go
as it is, is read with the standard library alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicpm_core._lazy import lazily

if TYPE_CHECKING:
    from minicpm_core.media.cache import clear_image_cache, image_cache_info, set_image_cache_bytes
    from minicpm_core.media.count import count_prompt
    from minicpm_core.media.images import load_image
    from minicpm_core.media.limits import DEFAULT_LIMITS, MediaLimits
    from minicpm_core.media.resolve import needs_io, resolve_messages
    from minicpm_core.media.sources import (
        image_from_base64,
        image_from_bytes,
        image_from_file,
        image_from_path,
        image_from_pil,
        image_from_url,
    )
    from minicpm_core.media.tokens import count_image_tokens, image_grid, visual_tokens

__all__ = [
    "DEFAULT_LIMITS",
    "MediaLimits",
    "clear_image_cache",
    "count_image_tokens",
    "count_prompt",
    "image_cache_info",
    "image_from_base64",
    "image_from_bytes",
    "image_from_file",
    "image_from_path",
    "image_from_pil",
    "image_from_url",
    "image_grid",
    "load_image",
    "needs_io",
    "resolve_messages",
    "set_image_cache_bytes",
    "visual_tokens",
]

_HOMES = {
    "clear_image_cache": "cache",
    "image_cache_info": "cache",
    "set_image_cache_bytes": "cache",
    "DEFAULT_LIMITS": "limits",
    "MediaLimits": "limits",
    "count_image_tokens": "tokens",
    "count_prompt": "count",
    "image_from_base64": "sources",
    "image_from_bytes": "sources",
    "image_from_file": "sources",
    "image_from_path": "sources",
    "image_from_pil": "sources",
    "image_from_url": "sources",
    "image_grid": "tokens",
    "load_image": "images",
    "needs_io": "resolve",
    "resolve_messages": "resolve",
    "visual_tokens": "tokens",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
