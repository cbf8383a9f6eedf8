"""MiniCPM over Chat Completions: the transport core behind the LangChain and LlamaIndex integrations.

Importing it opens nothing and imports no HTTP library: the clients are imported where they are first used, and httpx
at the first call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicpm_core._lazy import lazily
from minicpm_core._version import __version__
from minicpm_core.backends import BACKENDS, Backend, BackendName
from minicpm_core.config import DEFAULT_BASE_URL, ChatOptions, ClientConfig, Timeouts
from minicpm_core.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    ContextOverflowError,
    InvalidInputError,
    InvalidMediaError,
    InvalidRequestError,
    MalformedReplyError,
    MiniCPMError,
    ModelNotFoundError,
    NotFoundError,
    PermissionDeniedError,
    PromptTooLongError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    StructuredOutputError,
    ToolCallError,
    TruncatedReplyError,
    UnprocessableMediaError,
    UnsupportedContentError,
    UnsupportedFeatureError,
)
from minicpm_core.models import CARDS, DEFAULT_MODEL, ModelCard, card_for
from minicpm_core.secret import Secret

if TYPE_CHECKING:
    from minicpm_core.aio import AsyncCompletionStream, AsyncMiniCPMClient
    from minicpm_core.client import CompletionStream, MiniCPMClient
    from minicpm_core.media.limits import MediaLimits
    from minicpm_core.parts import (
        AudioSource,
        DocumentSource,
        ImagePart,
        ImageSource,
        TextPart,
        VideoSampling,
        VideoSource,
    )
    from minicpm_core.protocol.request import MiniCPMWarning, ServerTraits
    from minicpm_core.types import Choice, Completion, Delta, Message, ModelInfo, ToolCall, ToolCallDelta, Usage

__all__ = [
    "BACKENDS",
    "CARDS",
    "DEFAULT_BASE_URL",
    "DEFAULT_MODEL",
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "AsyncCompletionStream",
    "AsyncMiniCPMClient",
    "AudioSource",
    "AuthenticationError",
    "Backend",
    "BackendName",
    "ChatOptions",
    "Choice",
    "ClientConfig",
    "Completion",
    "CompletionStream",
    "ConfigurationError",
    "ContextOverflowError",
    "Delta",
    "DocumentSource",
    "ImagePart",
    "ImageSource",
    "InvalidInputError",
    "InvalidMediaError",
    "InvalidRequestError",
    "MalformedReplyError",
    "MediaLimits",
    "Message",
    "MiniCPMClient",
    "MiniCPMError",
    "MiniCPMWarning",
    "ModelCard",
    "ModelInfo",
    "ModelNotFoundError",
    "NotFoundError",
    "PermissionDeniedError",
    "PromptTooLongError",
    "QuotaExceededError",
    "RateLimitError",
    "Secret",
    "ServerError",
    "ServerTraits",
    "StreamInterruptedError",
    "StructuredOutputError",
    "TextPart",
    "Timeouts",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallError",
    "TruncatedReplyError",
    "UnprocessableMediaError",
    "UnsupportedContentError",
    "UnsupportedFeatureError",
    "Usage",
    "VideoSampling",
    "VideoSource",
    "__version__",
    "card_for",
]

_HOMES = {
    "AsyncCompletionStream": "aio",
    "AsyncMiniCPMClient": "aio",
    "AudioSource": "parts",
    "Choice": "types",
    "Completion": "types",
    "CompletionStream": "client",
    "Delta": "types",
    "DocumentSource": "parts",
    "ImagePart": "parts",
    "ImageSource": "parts",
    "MediaLimits": "media.limits",
    "Message": "types",
    "MiniCPMClient": "client",
    "MiniCPMWarning": "protocol.request",
    "ModelInfo": "types",
    "ServerTraits": "protocol.request",
    "TextPart": "parts",
    "ToolCall": "types",
    "ToolCallDelta": "types",
    "Usage": "types",
    "VideoSampling": "parts",
    "VideoSource": "parts",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
