"""MiniCPM-V and MiniCPM-o as a LangChain chat model.

from langchain_minicpm import ChatMiniCPM, image_block

ChatMiniCPM().invoke("Hello!")
"""

try:
    import langchain_core as _langchain_core
except ImportError as error:
    raise ImportError(
        'langchain_minicpm needs langchain-core: pip install "minicpm-integrations[langchain]"'
    ) from error

del _langchain_core

# Below the check, since these need langchain-core at once.
from typing import TYPE_CHECKING  # noqa: E402

from langchain_minicpm.chat_models import ChatMiniCPM  # noqa: E402
from minicpm_core._lazy import lazily  # noqa: E402
from minicpm_core._version import __version__  # noqa: E402

if TYPE_CHECKING:
    from langchain_minicpm._files import audio_block, file_block, video_block
    from langchain_minicpm._images import image_block
    from langchain_minicpm._retrieved import cited_documents, multi_modal_documents, source_label
    from langchain_minicpm.document_loaders import MiniCPMBlobParser, MiniCPMLoader
    from langchain_minicpm.realtime import MiniCPMRealtime, RealtimeChunk, RealtimeInput, each_turn, transcript

__all__ = [
    "ChatMiniCPM",
    "MiniCPMBlobParser",
    "MiniCPMLoader",
    "MiniCPMRealtime",
    "RealtimeChunk",
    "RealtimeInput",
    "__version__",
    "audio_block",
    "cited_documents",
    "each_turn",
    "file_block",
    "image_block",
    "multi_modal_documents",
    "source_label",
    "transcript",
    "video_block",
]

_HOMES = {
    "MiniCPMBlobParser": "document_loaders",
    "MiniCPMLoader": "document_loaders",
    "MiniCPMRealtime": "realtime",
    "RealtimeChunk": "realtime",
    "RealtimeInput": "realtime",
    "audio_block": "_files",
    "cited_documents": "_retrieved",
    "each_turn": "realtime",
    "file_block": "_files",
    "image_block": "_images",
    "multi_modal_documents": "_retrieved",
    "source_label": "_retrieved",
    "transcript": "realtime",
    "video_block": "_files",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
