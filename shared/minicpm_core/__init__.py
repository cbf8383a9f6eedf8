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
    QuotaExceededError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    UnprocessableMediaError,
    UnsupportedContentError,
    UnsupportedFeatureError,
)
from minicpm_core.models import CARDS, DEFAULT_MODEL, ModelCard, card_for
from minicpm_core.secret import Secret

if TYPE_CHECKING:
    from minicpm_core.aio import AsyncCompletionStream, AsyncMiniCPMClient
    from minicpm_core.client import CompletionStream, MiniCPMClient
    from minicpm_core.parts import ImagePart, ImageSource, TextPart
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
    "ImagePart",
    "ImageSource",
    "InvalidInputError",
    "InvalidMediaError",
    "InvalidRequestError",
    "MalformedReplyError",
    "Message",
    "MiniCPMClient",
    "MiniCPMError",
    "MiniCPMWarning",
    "ModelCard",
    "ModelInfo",
    "ModelNotFoundError",
    "NotFoundError",
    "PermissionDeniedError",
    "QuotaExceededError",
    "RateLimitError",
    "Secret",
    "ServerError",
    "ServerTraits",
    "StreamInterruptedError",
    "TextPart",
    "Timeouts",
    "ToolCall",
    "ToolCallDelta",
    "UnprocessableMediaError",
    "UnsupportedContentError",
    "UnsupportedFeatureError",
    "Usage",
    "__version__",
    "card_for",
]

_HOMES = {
    "Usage": "types",
    "ToolCallDelta": "types",
    "ToolCall": "types",
    "TextPart": "parts",
    "ModelInfo": "types",
    "Message": "types",
    "ImageSource": "parts",
    "ImagePart": "parts",
    "Delta": "types",
    "Completion": "types",
    "Choice": "types",
    "AsyncCompletionStream": "aio",
    "AsyncMiniCPMClient": "aio",
    "CompletionStream": "client",
    "MiniCPMClient": "client",
    "MiniCPMWarning": "protocol.request",
    "ServerTraits": "protocol.request",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
