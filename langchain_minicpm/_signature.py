"""The arguments of `ChatMiniCPM` for editors and type checkers; nothing imports this when a program runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from langchain_core.caches import BaseCache
    from langchain_core.callbacks import Callbacks
    from langchain_core.language_models import ModelProfile
    from langchain_core.rate_limiters import BaseRateLimiter
    from pydantic import SecretStr

    from minicpm_core.config import TimeoutSetting
    from minicpm_core.media.limits import MediaLimits
    from minicpm_core.media.settings import FramePolicy, MediaProgress, UrlPolicy
    from minicpm_core.parts import Detail, VideoSampling


class Settings(TypedDict, total=False):
    """The fields of `ChatMiniCPM`, which say what they mean, their other names, and those of `BaseChatModel`."""

    model: str | None
    model_name: str | None
    api_key: SecretStr | str | None
    base_url: str | None
    backend: str | None
    tool_calling: str | None
    timeout: TimeoutSetting
    request_timeout: TimeoutSetting
    max_retries: int | None
    default_headers: Mapping[str, str] | None
    http_client: Any
    async_http_client: Any
    image_detail: Detail | None
    image_quality: int | None
    image_frames: FramePolicy | None
    media_urls: UrlPolicy | None
    media_hosts: Iterable[str] | None
    media_limits: MediaLimits | Mapping[str, Any] | None
    video_sampling: VideoSampling | Mapping[str, Any] | None
    document_pages: int | None
    media_progress: MediaProgress | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: list[str] | str | None
    stop_sequences: list[str] | str | None
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logprobs: bool | None
    top_logprobs: int | None
    n: int | None
    thinking: bool | None
    stream_usage: bool | None
    streaming: bool
    extra_body: dict[str, Any] | None
    name: str | None
    cache: BaseCache | bool | None
    verbose: bool
    callbacks: Callbacks
    tags: list[str] | None
    metadata: dict[str, Any] | None
    custom_get_token_ids: Callable[[str], list[int]] | None
    rate_limiter: BaseRateLimiter | None
    disable_streaming: bool | Literal["tool_calling"]
    output_version: str | None
    profile: ModelProfile | None
