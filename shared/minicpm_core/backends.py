"""What differs between servers, as data: a new server is a row of `BACKENDS`.

No code elsewhere asks for a backend by name; it reads a column of its row.  Sources: the servers' own request models
and parsers, and exchanges recorded from vLLM 0.32, llama-server and transformers 5.23.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BackendName: TypeAlias = Literal["modelbest", "vllm", "sglang", "llamacpp", "ollama", "transformers", "generic"]
ThinkingSwitch: TypeAlias = Literal["chat_template_kwargs", "reasoning_effort", "none"]
ReasoningField: TypeAlias = Literal["reasoning", "reasoning_content"]
VideoShape: TypeAlias = Literal["mp4", "jpeg_frames", "input_video", "images"]
AudioShape: TypeAlias = Literal["audio_url", "input_audio"]
SamplingField: TypeAlias = Literal["media_io_kwargs", "video_url"]

STANDARD_FIELDS: frozenset[str] = frozenset({
    "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "n", "parallel_tool_calls", "presence_penalty",
    "response_format", "seed", "stop", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user",
})  # fmt: skip
"""Request fields of the Chat Completions API that this library sends by name."""


@dataclass(frozen=True, slots=True)
class Backend:
    """How to talk to one kind of server.

    Attributes:
        name: The row's name.
        title: As a sentence about it begins.
        hosts: Host names (with their subdomains) that are this backend.
        owned_by: Values of `owned_by` in `/v1/models` that tell it.
        headers: Response headers that tell it: each named header must begin with the given text.
        row_keys: Together with `headers`: the keys that every row of `/v1/models` has, no more and no fewer.
        needs_key: A request without a key is refused before it is sent.
        key_help: Where a key comes from.
        fields: Request fields that the server takes; `None` where it ignores what it does not know. A field that is
            not listed is refused by name, since the server would answer 422.
        ignores: Request fields that it takes and does nothing with, so that the caller is warned.
        thinking: How a request switches thinking on and off.
        history_reasoning: The field in which an assistant turn carries earlier reasoning; `None` if there is none.
        stream_usage: Takes `stream_options: {"include_usage": true}`.
        image_types: MIME types of pictures that it decodes.
        image_urls: Fetches http(s) pictures itself.
        video: The shape that it takes videos in: an MP4 file or JPEG frames under `video_url`, a file under
            `input_video`, or pictures, each after its time in text.
        video_urls: Fetches http(s) videos itself.
        video_sampling: Where it takes the sampling of a video that is sent as it is; `None` if nowhere.
        audio: The shape that it takes recordings in; `None` if it takes none.
        audio_types: Formats of recordings that it decodes; anything else is sent as 16 kHz mono WAV.
        audio_urls: Fetches http(s) recordings itself.
        tool_choices: Of `none`, `required` and `named`, the choices among tools that it is given as they are. The
            others are made sure of here; what comes back is checked in any case.
        enforces_schema: Holds an answer to a JSON schema in `response_format`.
        takes_tools: Takes `tools` at all. Where it does not, they are declared in the system turn.
        resolves_aliases: Older hosted model ids are replaced by today's.
    """

    name: BackendName
    title: str
    hosts: tuple[str, ...] = ()
    owned_by: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    row_keys: frozenset[str] | None = None
    needs_key: bool = False
    key_help: str = ""
    fields: frozenset[str] | None = None
    ignores: frozenset[str] = frozenset()
    thinking: ThinkingSwitch = "chat_template_kwargs"
    history_reasoning: ReasoningField | None = "reasoning_content"
    stream_usage: bool = True
    image_types: frozenset[str] = frozenset({"image/jpeg", "image/png"})
    image_urls: bool = False
    video: VideoShape = "images"
    video_urls: bool = False
    video_sampling: SamplingField | None = None
    audio: AudioShape | None = None
    audio_types: frozenset[str] = frozenset({"wav"})
    audio_urls: bool = False
    tool_choices: frozenset[str] = frozenset({"none", "required", "named"})
    enforces_schema: bool = False
    takes_tools: bool = True
    resolves_aliases: bool = False


_OPENAI_FIELDS = frozenset({
    "audio", "function_call", "functions", "max_completion_tokens", "metadata", "modalities", "moderation",
    "prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort",
    "safety_identifier", "service_tier", "store", "stream_options", "verbosity", "web_search_options",
})  # fmt: skip
_TRANSFORMERS_IGNORES = frozenset({
    "audio", "function_call", "functions", "logprobs", "metadata", "modalities", "n", "parallel_tool_calls",
    "prediction", "presence_penalty", "reasoning_effort", "response_format", "service_tier", "store", "tool_choice",
    "top_logprobs", "user", "web_search_options",
})  # fmt: skip
_PILLOW_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"})
_STB_TYPES = frozenset({"image/jpeg", "image/png", "image/bmp", "image/gif"})

BACKENDS: dict[BackendName, Backend] = {
    row.name: row
    for row in (
        Backend(
            name="modelbest",
            title="The ModelBest API",
            hosts=("modelbest.cn", "modelbest.co"),
            needs_key=True,
            key_help="create one at https://platform.modelbest.cn",
            tool_choices=frozenset({"required", "named"}),  # not documented; it runs vLLM
            history_reasoning="reasoning",
            video="mp4",
            audio="audio_url",  # not documented; it runs vLLM
            resolves_aliases=True,
        ),
        Backend(
            name="vllm",
            title="vLLM",
            owned_by=("vllm",),
            tool_choices=frozenset({"required", "named"}),  # at "none" a call that the model makes all the same is lost
            history_reasoning="reasoning",
            image_types=_PILLOW_TYPES,
            image_urls=True,
            video="jpeg_frames",
            video_urls=True,
            video_sampling="media_io_kwargs",
            audio="audio_url",
            audio_types=frozenset({"wav", "mp3", "flac"}),
            audio_urls=True,
            enforces_schema=True,
        ),
        Backend(
            name="sglang",
            title="SGLang",
            owned_by=("sglang",),
            image_types=_PILLOW_TYPES,
            image_urls=True,
            video="mp4",
            video_urls=True,
            video_sampling="video_url",
            audio="audio_url",
            audio_urls=True,
            enforces_schema=True,
        ),
        Backend(
            name="llamacpp",
            title="llama-server",
            owned_by=("llamacpp",),
            headers=(("server", "llama.cpp"),),
            image_types=_STB_TYPES,
            image_urls=True,
            video="input_video",
            audio="input_audio",
            audio_types=frozenset({"wav", "mp3", "flac"}),
            tool_choices=frozenset({"required"}),  # a named one is taken for "auto"; at "none" calls come as text
            enforces_schema=True,
        ),
        Backend(
            name="ollama",
            title="Ollama",
            owned_by=("library",),
            thinking="reasoning_effort",
            history_reasoning="reasoning",
            image_types=frozenset({"image/jpeg", "image/png", "image/webp"}),
            tool_choices=frozenset(),
            enforces_schema=True,
        ),
        Backend(
            name="transformers",
            title="transformers serve",
            headers=(("server", "uvicorn"), ("x-request-id", "")),
            row_keys=frozenset({"id", "object", "created", "owned_by"}),
            fields=STANDARD_FIELDS | _OPENAI_FIELDS | {"chat_template_kwargs", "generation_config"},
            ignores=_TRANSFORMERS_IGNORES,
            image_types=_PILLOW_TYPES,
            image_urls=True,
            video="mp4",
            video_urls=True,
            tool_choices=frozenset(),
        ),
        Backend(name="generic", title="The server", thinking="none", history_reasoning=None, audio="input_audio"),
    )
}


def backend_for_url(base_url: str) -> Backend | None:
    """The backend that a base URL alone tells, or `None`."""
    host = (urlsplit(base_url).hostname or "").lower()
    for row in BACKENDS.values():
        if any(host == known or host.endswith(f".{known}") for known in row.hosts):
            return row
    return None


def backend_for_models_reply(headers: Mapping[str, str], rows: Sequence[Mapping[str, Any]] | None) -> Backend | None:
    """The backend that a server's answer to `GET /models` tells, or `None`.

    Args:
        headers: Response headers with lower-case names.
        rows: The rows of `data`, as received; empty if there were none, `None` if the answer was no list of models.
    """
    owners = {str(row.get("owned_by", "")).lower() for row in rows or ()}
    for backend in BACKENDS.values():
        if owners.intersection(backend.owned_by):
            return backend
        if not backend.headers:
            continue
        marked = all(name in headers and headers[name].lower().startswith(mark) for name, mark in backend.headers)
        if marked and (backend.row_keys is None or _all_have(rows, backend.row_keys)):
            return backend
    return None


def _all_have(rows: Sequence[Mapping[str, Any]] | None, keys: frozenset[str]) -> bool:
    return rows is not None and all(frozenset(row) == keys for row in rows)
