"""The public names: a name that comes or goes is a decision, and shows in this file."""

from __future__ import annotations

import importlib

import pytest

from tests.house.support import PACKAGES

PUBLIC: dict[str, tuple[str, ...]] = {
    "langchain_minicpm": (
        "ChatMiniCPM", "MiniCPMBlobParser", "MiniCPMLoader", "MiniCPMRealtime", "RealtimeChunk",
        "RealtimeInput", "__version__", "audio_block", "cited_documents", "each_turn", "file_block",
        "image_block", "multi_modal_documents", "source_label", "transcript", "video_block",
    ),
    "llama_index_minicpm": (
        "ImageCaption", "ImageCitation", "MiniCPM", "MiniCPMImageCaptioner", "MiniCPMImagePostprocessor",
        "MiniCPMVoiceAgent", "MiniCPMVoiceAgentWebsocket", "QueueVoiceInterface", "SoundDeviceVoiceInterface",
        "__version__", "image_citations", "load_images",
    ),
    "minicpm_core": (
        "BACKENDS", "CARDS", "DEFAULT_BASE_URL", "DEFAULT_MODEL", "APIConnectionError", "APIError",
        "APIStatusError", "APITimeoutError", "AsyncCompletionStream", "AsyncMiniCPMClient", "AudioSource",
        "AuthenticationError", "Backend", "BackendName", "ChatOptions", "Choice", "ClientConfig",
        "Completion", "CompletionStream", "ConfigurationError", "ContextOverflowError", "Delta",
        "DocumentSource", "ImagePart", "ImageSource", "InvalidInputError", "InvalidMediaError",
        "InvalidRequestError", "MalformedReplyError", "MediaLimits", "Message", "MiniCPMClient",
        "MiniCPMError", "MiniCPMWarning", "ModelCard", "ModelInfo", "ModelNotFoundError", "NotFoundError",
        "PermissionDeniedError", "PromptTooLongError", "QuotaExceededError", "RateLimitError", "Secret",
        "ServerError", "ServerTraits", "StreamInterruptedError", "StructuredOutputError", "TextPart", "Timeouts",
        "ToolCall", "ToolCallDelta", "ToolCallError", "TruncatedReplyError", "UnprocessableMediaError",
        "UnsupportedContentError", "UnsupportedFeatureError", "Usage", "VideoSampling", "VideoSource", "__version__",
        "card_for",
    ),
    "minicpm_core.captions": (
        "CAPTION_PROMPT", "CAPTION_SCHEMA", "PROMPT_VERSION", "STRUCTURED_PROMPT", "AsyncCaptioner", "Caption",
        "CaptionCache", "CaptionCacheWarning", "CaptionPlan", "Captioned", "Captioner", "MediaPage", "Picture",
        "find_media",
    ),
    "minicpm_core.emulator": (
        "DIALECTS", "FAULTS", "SESSION_FAULTS", "Dialect", "EmulatorServer", "EmulatorSettings",
        "RealtimeEmulation", "RecordedRequest", "RecordedSession", "RecordedUnit", "run",
    ),
    "minicpm_core.media": (
        "DEFAULT_LIMITS", "MediaLimits", "clear_image_cache", "count_image_tokens", "count_prompt",
        "image_cache_info", "image_from_base64", "image_from_bytes", "image_from_file", "image_from_path",
        "image_from_pil", "image_from_url", "image_grid", "load_image", "needs_io", "resolve_messages",
        "set_image_cache_bytes", "visual_tokens",
    ),
    "minicpm_core.realtime": (
        "DEFAULT_REALTIME_URL", "INPUT_RATE", "OUTPUT_RATE", "UNIT_SAMPLES", "AudioDelta", "BackendError",
        "BargeIn", "ChatAppend", "ChatMessage", "ChatPart", "Clock", "Codec", "ConnectionLostError",
        "ContextFullError", "ContextShrunk", "ErrorEvent", "GapMetrics", "Generation", "InputAppend",
        "JitterBuffer", "Listen", "Metrics", "Mode", "NotConnectedError", "OnLimit", "OutputDelta",
        "QueueDone", "QueueFullError", "QueueUpdate", "RealtimeClient", "RealtimeError", "RealtimeLimits",
        "RealtimeSession", "RealtimeTimeoutError", "RealtimeTimeouts", "RealtimeUsage", "ResponseDone",
        "ResponseInterrupted", "SampleFormat", "ServerEvent", "ServerShutdownError", "SessionClose",
        "SessionClosed", "SessionCreated", "SessionEndedError", "SessionFailedError", "SessionInit",
        "SessionMetrics", "SessionQueued", "SessionRejectedError", "SessionReplaced", "SessionStateError",
        "SessionTimeLimitError", "SilenceEnded", "SystemClock", "TextDelta", "Turn", "UnexpectedEventError",
        "UnknownEvent", "Voice", "WavWriter", "WorkerBusyError", "f32_to_pcm16", "pcm16_to_f32", "to_wav",
    ),
}  # fmt: skip
"""What users may import. A name that comes or goes here is a change for the changelog."""


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these(package: str) -> None:
    assert tuple(importlib.import_module(package).__all__) == PUBLIC[package]


def _order(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then the rest, as ruff sorts them."""
    return not name.isupper(), not name[0].isupper(), name


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_sorted_and_importable(package: str) -> None:
    module = importlib.import_module(package)
    names = list(module.__all__)
    assert names == sorted(set(names), key=_order)
    assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_shows_every_public_name(package: str) -> None:
    """Also those that are imported lazily, so that completion finds them."""
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name
