"""Captions of pictures and pages, so that a text search can find them: what to ask, of which pictures, kept on disk.

    pages = find_media("photos")                       pictures and PDF pages, found by their first bytes
    cache = CaptionCache("captions")                   what was asked once is not asked again
    with MiniCPMClient() as client:
        for found in Captioner(client, cache=cache).captions(pages):
            print(found.source, found.caption)

No framework is needed, nor imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicpm_core._lazy import lazily

if TYPE_CHECKING:
    from minicpm_core.captions.cache import CaptionCache, CaptionCacheWarning
    from minicpm_core.captions.captioner import AsyncCaptioner, Captioner
    from minicpm_core.captions.plan import Captioned, CaptionPlan
    from minicpm_core.captions.prompts import CAPTION_PROMPT, CAPTION_SCHEMA, PROMPT_VERSION, STRUCTURED_PROMPT, Caption
    from minicpm_core.captions.sources import MediaPage, Picture, find_media

__all__ = [
    "CAPTION_PROMPT",
    "CAPTION_SCHEMA",
    "PROMPT_VERSION",
    "STRUCTURED_PROMPT",
    "AsyncCaptioner",
    "Caption",
    "CaptionCache",
    "CaptionCacheWarning",
    "CaptionPlan",
    "Captioned",
    "Captioner",
    "MediaPage",
    "Picture",
    "find_media",
]

_HOMES = {
    "AsyncCaptioner": "captioner",
    "CAPTION_PROMPT": "prompts",
    "CAPTION_SCHEMA": "prompts",
    "Caption": "prompts",
    "CaptionCache": "cache",
    "CaptionCacheWarning": "cache",
    "CaptionPlan": "plan",
    "Captioned": "plan",
    "Captioner": "captioner",
    "MediaPage": "sources",
    "PROMPT_VERSION": "prompts",
    "Picture": "sources",
    "STRUCTURED_PROMPT": "prompts",
    "find_media": "sources",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
