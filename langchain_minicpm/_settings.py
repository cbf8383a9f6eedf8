"""What `ChatMiniCPM` is made with and called with: names, defaults, and what must not travel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import asdict, dataclass, field, is_dataclass
from difflib import get_close_matches
from hashlib import sha256
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

from minicpm_core.config import ClientConfig, Timeouts, as_timeouts
from minicpm_core.errors import ConfigurationError
from minicpm_core.media.settings import MEDIA_FIELDS
from minicpm_core.protocol.options import combined
from minicpm_core.secret import MASK

if TYPE_CHECKING:
    from minicpm_core.aio import AsyncMiniCPMClient
    from minicpm_core.client import MiniCPMClient
    from minicpm_core.config import ChatOptions
    from minicpm_core.protocol.request import ServerTraits


ALIASES: Final = {
    "model_name": "model",
    "request_timeout": "timeout",
    "stop_sequences": "stop",
}
"""Other names for settings and options that LangChain's users know from other chat models."""

OPTIONS: Final = (
    "temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty", "logprobs",
    "top_logprobs", "n", "thinking", "stream_usage", "extra_body",
)  # fmt: skip
"""Fields of the model object that each request asks for unless the call says otherwise."""

CONNECTION: Final = (
    "model", "api_key", "base_url", "backend", "tool_calling", "timeout", "max_retries", "default_headers",
    "http_client", "async_http_client", *MEDIA_FIELDS,
)  # fmt: skip
"""Fields of the model object of which its clients are made."""
_HTTP_CLIENTS: Final = frozenset({"http_client", "async_http_client"})

_connection = itemgetter(*CONNECTION)
_mutable = itemgetter("default_headers", "media_hosts", "media_limits", "video_sampling")

UNSHARED: Final = ("api_key", "default_headers", "http_client", "async_http_client", "media_progress")
"""Fields that stay behind when the model object is pickled: secrets, what holds sockets, and a callback."""

_NOT_SENT: Final = frozenset({"stream", "ls_structured_output_format", "structured_output_format"})
"""Call arguments by which LangChain talks to itself."""


def canonical(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments under this library's names.

    Raises:
        ConfigurationError: One is given under two names.
    """
    settled: dict[str, Any] = {}
    for name, value in given.items():
        known = ALIASES.get(name, name)
        if known in settled:
            raise ConfigurationError(f"{known!r} is given twice, as {known!r} and under its other name.")
        settled[known] = value
    return settled


def settle(given: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """The constructor's arguments, checked, with what the environment says where they say nothing.

    Args:
        given: As the caller wrote them.
        fields: The names that the model object has.

    Raises:
        ConfigurationError: An argument is unknown or cannot be. The message never holds the key.
    """
    settled = canonical(given)
    known = set(fields)
    for name in settled:
        if name not in known:
            near = get_close_matches(name, (*known, *ALIASES), n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(
                f"ChatMiniCPM has no setting {name!r}.{meant} "
                f"Request fields that only some servers know go into extra_body={{{name!r}: …}}."
            )
    if isinstance(settled.get("default_headers"), Mapping):
        settled["default_headers"] = dict(cast("Mapping[str, str]", settled["default_headers"]))
    if isinstance(settled.get("timeout"), Mapping):
        settled["timeout"] = Timeouts(**cast("dict[str, Any]", settled["timeout"]))
    elif settled.get("timeout") is not None and not isinstance(settled["timeout"], int | float):
        settled["timeout"] = as_timeouts(settled["timeout"])
    settled |= {name: plain(name, value) for name, value in settled.items()}
    config = config_of(settled)
    settled |= {"model": config.model, "base_url": config.base_url, "backend": config.backend}
    settled |= {"tool_calling": config.tool_calling, "max_retries": config.max_retries}
    if config.api_key is not None:
        settled["api_key"] = config.api_key.reveal()
    return settled


def plain(name: str, value: Any) -> Any:
    """The value of a setting for media in plain types, which LangChain can store; any other as it is."""
    if name in {"media_limits", "video_sampling"} and is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if name == "media_hosts" and isinstance(value, Iterable):
        return [value] if isinstance(value, str) else list(cast("Iterable[str]", value))
    return value


def config_of(values: Mapping[str, Any]) -> ClientConfig:
    """The core's settings from the fields of a model object."""
    names = (name for name in CONNECTION if name not in _HTTP_CLIENTS)
    return ClientConfig.create(**{name: values.get(name) for name in names})


def request_options(values: Mapping[str, Any], stop: list[str] | None, given: Mapping[str, Any]) -> ChatOptions:
    """What one request asks for.

    Args:
        values: The fields of the model object.
        stop: LangChain's argument of that name.
        given: The other arguments of the call, which win over the fields. `extra_body` is added to the field's.
    """
    own = {name: value for name in OPTIONS if (value := values.get(name)) is not None}
    call = {ALIASES.get(name, name): value for name, value in given.items() if name not in _NOT_SENT}
    if stop is not None:
        call["stop"] = stop
    return cast("ChatOptions", combined(own, call))


def masked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call as traces may have them: without the values of headers."""
    shown = dict(given)
    if isinstance(shown.get("extra_headers"), Mapping):
        shown["extra_headers"] = dict.fromkeys(shown["extra_headers"], MASK)
    return shown


def digested(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call as a cache's key may have them: headers tell calls apart, but cannot be read."""
    shown = dict(given)
    headers = shown.get("extra_headers")
    if isinstance(headers, Mapping):
        pairs = sorted(cast("Mapping[str, Any]", headers).items())
        shown["extra_headers"] = sha256(repr(pairs).encode()).hexdigest()
    return shown


@dataclass(frozen=True, slots=True)
class Shells:
    """The clients of a model object.

    Attributes:
        made_of: The fields that they were made of.
        sync: For `invoke`, `stream` and the like.
        aio: For `ainvoke`, `astream` and the like.
    """

    made_of: tuple[Any, ...] = field(repr=False)
    sync: MiniCPMClient
    aio: AsyncMiniCPMClient


def fingerprint(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the clients depend on; copies, too, of what may be changed in place."""
    return (*_connection(values), *map(copy, _mutable(values)))


def make_shells(values: Mapping[str, Any], traits: ServerTraits | None = None) -> Shells:
    """Clients for a model object. Nothing is opened.

    Args:
        values: The fields of the model object.
        traits: What is known of the server already.
    """
    from minicpm_core.aio import AsyncMiniCPMClient  # at the first call: they are half of the core's import
    from minicpm_core.client import MiniCPMClient
    from minicpm_core.protocol.request import ServerTraits

    config = config_of(values)
    shared = traits if traits is not None else ServerTraits()
    return Shells(
        fingerprint(values),
        MiniCPMClient(config, http_client=values.get("http_client"), traits=shared),
        AsyncMiniCPMClient(config, http_client=values.get("async_http_client"), traits=shared),
    )
