"""Settings of a client, where they come from, and what is checked before anything is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, cast
from urllib.parse import urlsplit

from minicpm_core.backends import BACKENDS, BackendName
from minicpm_core.errors import ConfigurationError
from minicpm_core.media.settings import MEDIA_FIELDS, MediaSettings
from minicpm_core.models import DEFAULT_MODEL
from minicpm_core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_BASE_URL = "https://api.modelbest.cn/v1"
KEY_VARIABLES = ("MINICPM_API_KEY", "MODELBEST_API_KEY")
BASE_URL_VARIABLE = "MINICPM_BASE_URL"
MODEL_VARIABLE = "MINICPM_MODEL"
BACKEND_VARIABLE = "MINICPM_BACKEND"

_MIB = 1024 * 1024

ToolCalling: TypeAlias = Literal["auto", "native", "prompted"]
"""How tools are declared."""
_TOOL_CALLING: tuple[ToolCalling, ...] = ("auto", "native", "prompted")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait, each for one step; `None` waits for ever.

    Attributes:
        connect: For a connection.
        read: For the next bytes of a stream, however few; a whole answer must end within it.
        write: For the server to take the next bytes.
        pool: For a free connection of the pool.
    """

    connect: float | None = 10.0
    read: float | None = 300.0
    write: float | None = 60.0
    pool: float | None = 60.0

    def as_dict(self) -> dict[str, float | None]:
        """In the form of httpx's `timeout` request extension."""
        return {"connect": self.connect, "read": self.read, "write": self.write, "pool": self.pool}


TimeoutSetting: TypeAlias = "float | Timeouts | Any | None"
"""A number of seconds, `Timeouts`, anything shaped like `httpx.Timeout`, or `None` for the defaults."""


class ChatOptions(TypedDict, total=False):
    """What a request may ask for. A key that is absent or `None` is not sent.

    A call's options win over the client's; its `None` takes the client's value back.

    Keys:
        model: Another model than the client's.
        temperature, top_p, max_tokens, stop, seed, presence_penalty, frequency_penalty, logprobs, top_logprobs, n,
            logit_bias, user: As in the Chat Completions API.
        tools, tool_choice, parallel_tool_calls, response_format: As in the Chat Completions API.
        thinking: Whether to think before answering; `None` leaves it to the model's card.
        stream_usage: Whether to ask for token counts in a stream; `None` asks where the server takes it.
        extra_body: Further fields of the request, such as `top_k`; they win over the ones above. A call's are added
            to the client's.
        extra_headers: Further headers of this request.
        timeout: Seconds, for this request.
    """

    model: str | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logprobs: bool | None
    top_logprobs: int | None
    n: int | None
    logit_bias: Mapping[str, float] | None
    user: str | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: Mapping[str, Any] | None
    thinking: bool | None
    stream_usage: bool | None
    extra_body: Mapping[str, Any] | None
    extra_headers: Mapping[str, str] | None
    timeout: TimeoutSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Settings of a client, checked. Make one with `ClientConfig.create`.

    Attributes:
        model: The model to ask for where a call names none.
        api_key: The key, boxed; `None` if there is none.
        base_url: Of the API, ending in its version, without a slash at the end.
        backend: A row of `BACKENDS`, or `auto` to find out.
        timeout: Seconds to wait, by step; `None` for those of an injected HTTP client, or else the defaults.
        max_retries: How often a failed request is made again: never more than `max_retries + 1` requests.
        max_retry_after: The longest wait in seconds that a server's `Retry-After` may ask for.
        max_response_bytes: The most decompressed bytes that one answer may have.
        default_headers: Sent with each request. Not shown: they may hold secrets.
        options: What each request asks for unless the call says otherwise.
        media: How media are prepared.
        tool_calling: Tools go into the request (`native`) or into the system turn (`prompted`); `auto` tries the first
            and remembers where a server refuses it.
    """

    model: str
    api_key: Secret | None
    base_url: str
    backend: BackendName | Literal["auto"] = "auto"
    timeout: Timeouts | None = None
    max_retries: int = 2
    max_retry_after: float = 60.0
    max_response_bytes: int = 64 * _MIB
    default_headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    options: ChatOptions = field(default_factory=ChatOptions)
    media: MediaSettings = field(default_factory=MediaSettings)
    tool_calling: ToolCalling = "auto"

    @classmethod
    def create(
        cls,
        *,
        model: str | None = None,
        api_key: str | Secret | Any | None = None,
        base_url: str | None = None,
        backend: str | None = None,
        timeout: TimeoutSetting = None,
        max_retries: int | None = None,
        max_retry_after: float | None = None,
        max_response_bytes: int | None = None,
        default_headers: Mapping[str, str] | None = None,
        options: ChatOptions | None = None,
        tool_calling: str | None = None,
        **media: Any,
    ) -> ClientConfig:
        """Settings from arguments, then the environment, then defaults.

        Args:
            model: Else `MINICPM_MODEL`, else `MiniCPM-V-4.6-1B`.
            api_key: A string or anything with `get_secret_value()`; else `MINICPM_API_KEY`, else `MODELBEST_API_KEY`.
            base_url: Else `MINICPM_BASE_URL`, else the vendor's hosted API. A URL without a path gets `/v1`.
            backend: Else `MINICPM_BACKEND`, else `auto`.
            timeout: Seconds for every step, or `Timeouts`; `None` takes those of an injected HTTP client, or else the
                defaults of `Timeouts`.
            max_retries: 2 by default; 0 makes one request only.
            max_retry_after: 60 by default.
            max_response_bytes: 64 MiB by default.
            default_headers: Sent with each request.
            options: Defaults for every request.
            tool_calling: `auto`, `native` or `prompted`; `auto` by default.
            **media: Settings of `MediaSettings`, such as `image_detail`.

        Raises:
            ConfigurationError: A setting cannot be. The message never holds the key.
        """
        for name in media:
            if name not in MEDIA_FIELDS:
                raise TypeError(f"ClientConfig.create() got an unexpected keyword argument {name!r}")
        chosen_backend = _text("backend", backend or os.environ.get(BACKEND_VARIABLE) or "auto")
        if chosen_backend != "auto" and chosen_backend not in BACKENDS:
            known = ", ".join(["auto", *BACKENDS])
            raise ConfigurationError(f"Unknown backend {chosen_backend!r}: it must be one of {known}.")
        return cls(
            model=_text("model", model or os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL),
            api_key=_key(api_key),
            base_url=normalise_base_url(base_url or os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL),
            backend=cast("BackendName", chosen_backend),
            timeout=None if timeout is None else as_timeouts(timeout),
            max_retries=_whole("max_retries", 2 if max_retries is None else max_retries, low=0),
            max_retry_after=_seconds("max_retry_after", 60.0 if max_retry_after is None else max_retry_after),
            max_response_bytes=_whole(
                "max_response_bytes", 64 * _MIB if max_response_bytes is None else max_response_bytes, low=1
            ),
            default_headers=checked_headers(default_headers or {}),
            options={**options} if options else {},
            media=MediaSettings.create(**media),
            tool_calling=_tool_calling(tool_calling),
        )

    def with_timeout(self, timeout: TimeoutSetting) -> ClientConfig:
        """The same settings with another timeout; `None` keeps it."""
        return self if timeout is None else replace(self, timeout=as_timeouts(timeout))

    def with_key_from_environment(self) -> ClientConfig:
        """The same settings; a key that was left behind by a pickle is read from the environment again."""
        return self if self.api_key is not None else replace(self, api_key=_key(None))

    @property
    def secrets(self) -> tuple[str, ...]:
        """Everything that must never be shown: the key and the values of the default headers."""
        key = (self.api_key.reveal(),) if self.api_key else ()
        return (*key, *secret_values(self.default_headers))


_SECRET_LENGTH = 8


def secret_values(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The values of headers that may be secrets: not flags such as `1`, whose redaction would only garble messages."""
    return tuple(value for value in headers.values() if len(value) >= _SECRET_LENGTH)


_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""The name of a header (RFC 9110, section 5.6.2)."""


def _key(given: Any) -> Secret | None:
    if isinstance(given, Secret):
        text: Any = given.reveal()
    elif hasattr(given, "get_secret_value"):
        text = given.get_secret_value()
    else:
        text = given
    if text is None:
        text = next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), None)
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise ConfigurationError(f"api_key must be a string, not {type(text).__name__}.")
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ConfigurationError(
            "The API key holds a newline, a space at its end or a character that is not ASCII, and cannot be sent. "
            "Copy it again without them."
        )
    return Secret(text)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be a string that says something, not {value!r}.")
    return value


def _tool_calling(value: str | None) -> ToolCalling:
    chosen = _text("tool_calling", "auto" if value is None else value)
    for way in _TOOL_CALLING:
        if chosen == way:
            return way
    raise ConfigurationError(f"Unknown tool_calling {chosen!r}: it must be one of {', '.join(_TOOL_CALLING)}.")


def _whole(name: str, value: Any, *, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ConfigurationError(f"{name} must be a whole number, {low} or more, not {value!r}.")
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConfigurationError(f"{name} must be a number of seconds, 0 or more, not {value!r}.")
    return float(value)


def normalise_base_url(url: str) -> str:
    """A base URL without a slash at its end and with a path.

    Raises:
        ConfigurationError: It is not an http(s) URL, or it holds a user name or password.
    """
    url = _text("base_url", url).strip()
    shown = url if "@" not in url else "(hidden: it may hold a password)"
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        raise ConfigurationError(f"base_url is not a URL: {shown}.") from None
    if not known or any(c.isspace() or not c.isprintable() for c in url):
        raise ConfigurationError(
            f"base_url must begin with http:// or https://, for example {DEFAULT_BASE_URL}; got {shown}."
        )
    if "@" in parts.netloc:
        raise ConfigurationError("base_url must not hold a user name or password: pass api_key or default_headers.")
    if parts.query or parts.fragment:
        raise ConfigurationError("base_url must not hold a query or a fragment.")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"


_NO_STEP = object()
_LONGEST_TIMEOUT = 1e9
"""Seconds, about thirty years: much more is beyond what threads and sockets can wait for."""


def as_timeouts(setting: TimeoutSetting) -> Timeouts:
    """Timeouts from a number of seconds, an httpx-like object, or `None` for the defaults.

    Raises:
        ConfigurationError: A number is not positive, or the object is something else.
    """
    if setting is None:
        return Timeouts()
    steps = [getattr(setting, step, _NO_STEP) for step in ("connect", "read", "write", "pool")]
    if _NO_STEP not in steps:
        return Timeouts(*map(_timeout, steps))
    seconds = _timeout(setting)
    return Timeouts(seconds if seconds is None else min(seconds, 10.0), seconds, seconds, seconds)


def _timeout(seconds: Any) -> float | None:
    """Seconds as sockets take them: `None` for ever."""
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ConfigurationError(f"timeout must be Timeouts or a positive number of seconds, not {seconds!r}.")
    return float(seconds) if seconds <= _LONGEST_TIMEOUT else None


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, if they can be sent.

    Raises:
        ConfigurationError: A name or a value cannot stand in a header. The message holds the name only.
    """
    given: Any = headers
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"Headers must be a mapping of names to values, not {type(given).__name__}.")
    checked: dict[str, str] = {}
    for name, value in cast("Mapping[object, object]", given).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError("Header names and values must be strings.")
        if not _TOKEN.fullmatch(name):
            raise ConfigurationError("A header's name may hold letters, digits and dashes, no colon and no space.")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise ConfigurationError(
                f"The header {name!r} holds a newline, a space at an end or a character that is not ASCII."
            )
        checked[name] = value
    return checked
