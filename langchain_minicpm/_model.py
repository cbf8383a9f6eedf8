"""What a `ChatMiniCPM` is made of: its settings, how it is copied and stored, and what it tells of itself.

Its fields may be changed at any time: requests are made of them as they are, and clients are made again when a field
they depend on differs.  The key and the headers stay out of `repr`, dumps, traces and pickles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.load import dumpd
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from langchain_minicpm._guard import langchain_errors
from langchain_minicpm._profile import profile_for
from langchain_minicpm._provider import PROVIDER
from langchain_minicpm._settings import (
    CONNECTION,
    OPTIONS,
    UNSHARED,
    Shells,
    config_of,
    digested,
    fingerprint,
    make_shells,
    masked,
    plain,
    settle,
)
from minicpm_core._version import __version__
from minicpm_core.config import DEFAULT_BASE_URL, Timeouts
from minicpm_core.errors import UnsupportedFeatureError
from minicpm_core.models import DEFAULT_MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from langchain_core.language_models import ModelProfile
    from langchain_core.language_models.base import LangSmithParams
    from langchain_core.messages import BaseMessage

_PROFILED = frozenset({"model", "backend", "base_url"})
"""Fields on which the profile, and what was learned of the server, depend."""
_SERVICES = ("http_client", "async_http_client", "rate_limiter", "cache", "media_progress")
"""Fields whose value is used, not owned: a deep copy uses the same."""


class MiniCPMSettings(BaseChatModel):
    """The settings of a `ChatMiniCPM`."""

    # Only the class that inherits from this one is instantiated: building a validator twice would double its import.
    model_config = ConfigDict(arbitrary_types_allowed=True, hide_input_in_errors=True, defer_build=True)

    model: str = DEFAULT_MODEL
    """The model's id at the server; else `MINICPM_MODEL`. Also accepted as `model_name`."""
    api_key: SecretStr | None = None
    """The key; else `MINICPM_API_KEY`, else `MODELBEST_API_KEY`. Never shown, dumped or pickled."""
    base_url: str = DEFAULT_BASE_URL
    """Of the API; else `MINICPM_BASE_URL`."""
    backend: str = "auto"
    """The kind of server, such as `vllm` or `llamacpp`; else `MINICPM_BACKEND`; `auto` finds out."""
    tool_calling: str = "auto"
    """How tools are declared: `native` in the request, `prompted` in the system turn, for servers that take none;
    `auto` tries the first, and turns to the second where the server refuses it."""
    timeout: int | float | Timeouts | None = None
    """Seconds for each step of a request, or `Timeouts`, or what is shaped like `httpx.Timeout`. Also accepted as
    `request_timeout`."""
    max_retries: int = 2
    """How often a failed request is made again."""
    default_headers: dict[str, str] | None = Field(default=None, exclude=True, repr=False)
    """Sent with each request. Never shown, dumped or pickled, since they may hold secrets."""
    http_client: Any = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` (or httpx2's, or one with another transport) to use instead of the shared connections."""
    async_http_client: Any = Field(default=None, exclude=True, repr=False)
    """The same for the asynchronous methods."""

    image_detail: str = "auto"
    """`auto` sends no more pixels than the model looks at, `low` one tile of 448 x 448, `high` an overview and
    cut-outs of up to 36 tiles, `original` the file as it is. A picture's own `detail` wins."""
    image_quality: int = 90
    """Of JPEG, 1 to 100, where a picture has to be encoded."""
    image_frames: str = "first"
    """Of an animation or a TIFF of several pages: `first`, or `all`."""
    media_urls: str = "fetch"
    """What is done with http(s) URLs: `fetch` here, with addresses checked; `pass` to servers that fetch themselves;
    `refuse`."""
    media_hosts: list[str] | None = None
    """Hosts that may be fetched from although their addresses are private."""
    media_limits: dict[str, Any] | None = None
    """Bounds on each medium: `MediaLimits`, or its fields."""
    video_sampling: dict[str, Any] | None = None
    """Which frames of videos are sent: `VideoSampling`, or its fields. One frame a second, up to 32, by default."""
    document_pages: int = 20
    """The most pages of one document."""
    media_progress: Any = Field(default=None, exclude=True, repr=False)
    """Called with what is prepared, such as `video`, and how much of it is done, from 0 to 1."""

    temperature: float | None = None
    """0 for the likeliest answer; `None` leaves it to the server."""
    top_p: float | None = None
    """How much of the probability mass is drawn from, up to 1."""
    max_tokens: int | None = None
    """The most tokens to write, reasoning included."""
    stop: list[str] | str | None = None
    """Texts at which the answer ends. Also accepted as `stop_sequences`."""
    seed: int | None = None
    """For answers that can be repeated, where the server can."""
    presence_penalty: float | None = None
    """From -2 to 2: above 0, what was said before becomes less likely."""
    frequency_penalty: float | None = None
    """From -2 to 2: above 0, what was said often becomes less likely."""
    logprobs: bool | None = None
    """Whether to give log-probabilities, in `response_metadata["logprobs"]`."""
    top_logprobs: int | None = None
    """For how many alternatives of each token."""
    n: int | None = None
    """How many answers to give (`generate` only: a stream has one)."""
    thinking: bool | None = None
    """Whether to think before answering; `None` leaves it to the model's card."""
    stream_usage: bool | None = None
    """Whether to ask for token counts in a stream; `None` asks where the server takes it."""
    streaming: bool = False
    """Whether `invoke` streams, so that callbacks see tokens."""
    extra_body: dict[str, Any] | None = None
    """Further fields of each request, such as `top_k`; they win over the others."""

    _shells: Shells | None = PrivateAttr(default=None)
    _serialized_from: tuple[dict[str, Any], dict[str, Any]] | None = PrivateAttr(default=None)

    def __init__(self, **settings: Any) -> None:
        with langchain_errors():
            settled = settle(settings, type(self).model_fields)
        super().__init__(**settled)

    @model_validator(mode="after")
    def _set_minicpm_version(self) -> Self:
        self._add_version("langchain-minicpm", __version__)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "api_key" and isinstance(value, str):
            value = SecretStr(value)
        value = plain(name, value)
        own_profile = name in _PROFILED and self.profile == self._resolve_model_profile()
        super().__setattr__(name, value)
        if own_profile:
            self.profile = self._resolve_model_profile()

    def __eq__(self, other: object) -> bool:
        """Whether the settings are equal, whatever was called before."""
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # as for every Pydantic model

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed; a key given as text is boxed."""
        changed = dict(update or {})
        if isinstance(changed.get("api_key"), str):
            changed["api_key"] = SecretStr(changed["api_key"])
        return super().model_copy(update=changed, deep=deep)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        shared = {} if memo is None else memo
        for service in (*(getattr(self, name) for name in _SERVICES), self._shells):
            if service is not None:
                shared[id(service)] = service
        return super().__deepcopy__(shared)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        kept = {name: None if name in UNSHARED else value for name, value in state["__dict__"].items()}
        fields_set = state["__pydantic_fields_set__"] - set(UNSHARED)
        private: dict[str, Any] = {**(state["__pydantic_private__"] or {}), "_shells": None, "_serialized_from": None}
        return {**state, "__dict__": kept, "__pydantic_fields_set__": fields_set, "__pydantic_private__": private}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        key = config_of(self.__dict__).api_key
        if key is not None:
            self.api_key = SecretStr(key.reveal())

    def _clients(self) -> Shells:
        """The clients for the fields as they are now."""
        values = self.__dict__
        shells = self._shells
        if shells is None or shells.made_of != fingerprint(values):
            known = shells.sync.traits if shells is not None and _same_server(shells.made_of, values) else None
            shells = self._shells = make_shells(values, known)
        return shells

    @property
    def model_name(self) -> str:
        """The model's id, under the name that some of LangChain's tools look for."""
        return self.model

    @property
    def _llm_type(self) -> str:
        return "minicpm-chat"

    @property
    def _options(self) -> dict[str, Any]:
        values = self.__dict__
        return {name: values[name] for name in OPTIONS if values[name] is not None}

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "base_url": self.base_url, "backend": self.backend, **self._options}

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        params = {"model": self.model, **self._options, "_type": self._llm_type, **masked(kwargs)}
        params["stop"] = stop if stop is not None else self.stop
        return params

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params: LangSmithParams = {
            "ls_provider": PROVIDER,
            "ls_model_name": kwargs.get("model") or self.model,
            "ls_model_type": "chat",
        }
        temperature = kwargs.get("temperature", self.temperature)
        if temperature is not None:
            params["ls_temperature"] = temperature
        max_tokens = kwargs.get("max_tokens", self.max_tokens)
        if max_tokens is not None:
            params["ls_max_tokens"] = max_tokens
        stops = stop if stop is not None else self.stop
        if stops:
            params["ls_stop"] = [stops] if isinstance(stops, str) else stops
        return params

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        return super()._get_llm_string(stop=stop, **digested(kwargs))

    def _resolve_model_profile(self) -> ModelProfile | None:
        return profile_for(self.model, backend=self.backend, base_url=self.base_url)

    def get_token_ids(self, text: str) -> list[int]:
        """The tokens of a text, by `custom_get_token_ids`.

        Raises:
            UnsupportedFeatureError: There is no such function. `get_num_tokens` works without it.
        """
        if self.custom_get_token_ids is None:
            raise UnsupportedFeatureError(
                "Token ids need the model's tokenizer, which is not part of this package: pass "
                "custom_get_token_ids=tokenizer.encode. get_num_tokens() estimates without it."
            )
        return self.custom_get_token_ids(text)

    def get_num_tokens(self, text: str) -> int:
        """About how many tokens a text has: exactly with `custom_get_token_ids`, else by its characters."""
        from minicpm_core.protocol.estimate import text_tokens

        return text_tokens(text) if self.custom_get_token_ids is None else len(self.get_token_ids(text))

    def get_num_tokens_from_messages(self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """About how many tokens a conversation has as a prompt. Nothing is fetched.

        Args:
            messages: The conversation; its pictures are counted by the model's own rule, other media as the most that
                they will be.
            tools: Tools that are bound to the model.

        Raises:
            UnsupportedContentError: A content block of a kind that cannot be sent.
        """
        from langchain_minicpm._tokens import count_messages

        with langchain_errors():
            settings = config_of(self.__dict__).media
            return count_messages(messages, tools, model=self.model, settings=settings, count_text=self.get_num_tokens)

    @classmethod
    def is_lc_serializable(cls) -> Literal[True]:
        """Whether traces and caches may hold the settings: yes, without the secrets."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Where a loading process finds the key."""
        return {"api_key": "MINICPM_API_KEY"}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """Timeouts as plain numbers; the constructor takes them so."""
        return {"timeout": self.timeout.as_dict()} if isinstance(self.timeout, Timeouts) else {}

    @property
    def _serialized(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]  # see below
        """What traces and caches know this object by.

        The base makes it once and for all, so that a cache would answer for settings that were changed since.
        """
        held = self._serialized_from
        if held is None or held[0] != vars(self):
            fields = {name: value if name == "profile" else _snapshot(value) for name, value in vars(self).items()}
            held = self._serialized_from = (fields, cast("dict[str, Any]", dumpd(self)))
        return held[1]


def _snapshot(value: Any) -> Any:
    """A value that does not change with the field's own."""
    if isinstance(value, dict):
        return {name: _snapshot(item) for name, item in cast("dict[str, Any]", value).items()}
    return [*value] if isinstance(value, list) else value


def _same_server(made_of: tuple[Any, ...], values: Mapping[str, Any]) -> bool:
    """Whether what was learned of the server still holds."""
    then: dict[str, Any] = dict(zip(CONNECTION, made_of, strict=False))
    return all(then[name] == values[name] for name in _PROFILED)
