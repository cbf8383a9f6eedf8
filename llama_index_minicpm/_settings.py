"""The settings of a `MiniCPM` object, and how they stay with it: checked, changed, copied, pickled, never shown."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.bridge.pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from typing_extensions import override

from minicpm_core.config import ClientConfig, Timeouts, as_timeouts
from minicpm_core.errors import ConfigurationError
from minicpm_core.media.limits import MediaLimits
from minicpm_core.media.settings import MEDIA_FIELDS, made_of
from minicpm_core.models import card_for
from minicpm_core.parts import VideoSampling

if TYPE_CHECKING:  # the clients are imported when they are first used
    from minicpm_core import (  # noqa: TC004  # pydantic does not evaluate the annotations of private attributes
        AsyncMiniCPMClient,
        ChatOptions,
        MiniCPMClient,
        ServerTraits,
    )

DEFAULT_CONTEXT_WINDOW = 32_768
"""Tokens. What LlamaIndex packs into one prompt depends on it; servers often serve less than the model was made for."""

_OPTIONS = (
    "temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty", "logprobs",
    "top_logprobs", "thinking", "stream_usage", "extra_body",
)  # fmt: skip
_CONNECTION = (
    "model",
    "api_key",
    "base_url",
    "backend",
    "timeout",
    "max_retries",
    "default_headers",
    "tool_calling",
    *MEDIA_FIELDS,
)
_NOT_PICKLED = ("api_key", "default_headers", "http_client", "async_http_client", "media_progress")


class MiniCPMSettings(FunctionCallingLLM):
    """Everything of `MiniCPM` that is not a call."""

    # A validation error would otherwise quote its input, and that may be the key.
    model_config = ConfigDict(hide_input_in_errors=True, arbitrary_types_allowed=True)

    model: str = Field(default="", description="The model to ask for.")
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False, description="The key.")
    base_url: str = Field(default="", description="Of the API, ending in its version.")
    backend: str = Field(default="", description="The kind of server, or auto to find out.")
    timeout: float | Timeouts | None = Field(default=None, description="Seconds to wait, for each step.")
    max_retries: int = Field(default=2, description="How often a failed request is made again.")
    default_headers: dict[str, str] | None = Field(
        default=None, exclude=True, repr=False, description="Sent with each request; may hold secrets."
    )
    http_client: Any = Field(default=None, exclude=True, repr=False, description="An httpx.Client of one's own.")
    async_http_client: Any = Field(
        default=None, exclude=True, repr=False, description="An httpx.AsyncClient of one's own."
    )
    tool_calling: str = Field(default="auto", description="native, prompted or auto: where tools are declared.")
    image_detail: str | None = Field(default=None, description="auto, low, high or original: how much is sent.")
    image_quality: int | None = Field(default=None, description="Of JPEG, where a picture has to be encoded.")
    image_frames: str | None = Field(default=None, description="first or all, of an animation.")
    media_urls: str | None = Field(default=None, description="fetch, pass or refuse http(s) URLs.")
    media_hosts: list[str] | None = Field(default=None, description="Private hosts that may be fetched from.")
    media_limits: MediaLimits | None = Field(default=None, description="Bounds on each medium.")
    video_sampling: VideoSampling | None = Field(default=None, description="Which frames of videos are sent.")
    document_pages: int | None = Field(default=None, description="The most pages of one document.")
    media_progress: Any = Field(
        default=None, exclude=True, repr=False, description="Told what is prepared, and how much of it is done."
    )
    temperature: float | None = Field(default=None, description="Sampling temperature.")
    top_p: float | None = Field(default=None, description="Nucleus sampling.")
    max_tokens: int | None = Field(default=None, description="The most tokens to write, reasoning included.")
    stop: str | list[str] | None = Field(default=None, description="Where to stop writing.")
    seed: int | None = Field(default=None, description="Makes sampling repeatable where the server can.")
    presence_penalty: float | None = Field(default=None, description="As in the Chat Completions API.")
    frequency_penalty: float | None = Field(default=None, description="As in the Chat Completions API.")
    logprobs: bool | None = Field(default=None, description="Ask for log probabilities.")
    top_logprobs: int | None = Field(default=None, description="How many candidates for each token.")
    thinking: bool | None = Field(default=None, description="Think before answering; None leaves it to the model.")
    stream_usage: bool | None = Field(default=None, description="Ask for token counts in streams.")
    extra_body: dict[str, Any] | None = Field(default=None, description="Further fields of the request.")
    context_window: int | None = Field(default=None, description="Tokens that fit; None takes a careful default.")
    is_function_calling: bool | None = Field(default=None, description="Whether to offer tools; None asks the card.")

    _client: MiniCPMClient | None = PrivateAttr(default=None)
    _aclient: AsyncMiniCPMClient | None = PrivateAttr(default=None)
    _traits: tuple[str, str, ServerTraits] | None = PrivateAttr(default=None)

    _aliases: ClassVar[Mapping[str, str]] = {"api_base": "base_url"}

    def __init__(self, **settings: Any) -> None:
        """Take settings by any name they have; those that are missing or `None` come from environment and defaults.

        Raises:
            ConfigurationError: A setting is unknown or cannot be.
        """
        super().__init__(**self._known(settings))
        config = self._config()
        self.model, self.base_url, self.backend = config.model, config.base_url, config.backend
        self.api_key = SecretStr(config.api_key.reveal()) if config.api_key else None

    @classmethod
    def _known(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for given, value in settings.items():
            name = cls._aliases.get(given, given)
            if name not in cls.model_fields:
                near = get_close_matches(name, [*cls.model_fields, *cls._aliases], n=1)
                meant = f" Did you mean {near[0]!r}?" if near else ""
                raise ConfigurationError(f"{cls.__name__} has no setting {given!r}.{meant}")
            if value is not None:
                known[name] = value
        return known

    @field_validator("timeout", mode="before")
    @classmethod
    def _timeouts(cls, timeout: Any) -> Any:
        """Take anything shaped like `httpx.Timeout`; numbers and dictionaries are Pydantic's to read."""
        return as_timeouts(timeout) if hasattr(timeout, "connect") else timeout

    @field_validator("media_hosts", mode="before")
    @classmethod
    def _hosts(cls, hosts: Any) -> Any:
        return [hosts] if isinstance(hosts, str) else hosts

    @field_validator("media_limits", "video_sampling", mode="before")
    @classmethod
    def _fields(cls, given: Any, info: ValidationInfo) -> Any:
        """Check the names of fields, too; Pydantic leaves out those that it does not know."""
        kind = MediaLimits if info.field_name == "media_limits" else VideoSampling
        return made_of(kind, str(info.field_name), cast("dict[str, Any]", given)) if isinstance(given, dict) else given

    # -- The settings in use -------------------------------------------------------------------------------------------

    @property
    def api_base(self) -> str:
        """The same as `base_url`, under the name that other integrations use."""
        return self.base_url

    @property
    @override
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex needs to know of the model; made from settings and the model card alone."""
        card = card_for(self.model)
        careful = min(DEFAULT_CONTEXT_WINDOW, card.context_window or DEFAULT_CONTEXT_WINDOW)
        return LLMMetadata(
            context_window=self.context_window or careful,
            num_output=self.max_tokens or -1,
            is_chat_model=True,
            is_function_calling_model=card.tools if self.is_function_calling is None else self.is_function_calling,
            model_name=self.model,
        )

    def _config(self) -> ClientConfig:
        settings = self.__dict__
        return ClientConfig.create(
            **{name: settings[name] for name in _CONNECTION},
            options=cast("ChatOptions", {name: settings[name] for name in _OPTIONS}),
        )

    def _sync(self) -> MiniCPMClient:
        if self._client is None:
            from minicpm_core import MiniCPMClient

            self._client = MiniCPMClient(self._config(), http_client=self.http_client, traits=self._server())
        return self._client

    def _async(self) -> AsyncMiniCPMClient:
        if self._aclient is None:
            from minicpm_core import AsyncMiniCPMClient

            self._aclient = AsyncMiniCPMClient(
                self._config(), http_client=self.async_http_client, traits=self._server()
            )
        return self._aclient

    def _server(self) -> ServerTraits:
        """What is known of the server; it outlives other changed settings."""
        if self._traits is None or self._traits[:2] != (self.base_url, self.backend):
            from minicpm_core import ServerTraits

            self._traits = (self.base_url, self.backend, ServerTraits())
        return self._traits[2]

    @override
    def __setattr__(self, name: str, value: Any) -> None:
        name = self._aliases.get(name, name)
        super().__setattr__(name, SecretStr(value) if name == "api_key" and isinstance(value, str) else value)
        if name in _CHANGES_CLIENTS:
            self._forget_clients()

    def _forget_clients(self) -> Self:
        """Make new clients at the next call. Connections are pooled outside of them, and streams keep theirs."""
        self._client = self._aclient = None
        return self

    # -- Copies and pickles --------------------------------------------------------------------------------------------

    @override
    def __copy__(self) -> Self:
        copied = super().__copy__()
        return copied._forget_clients()  # noqa: SLF001 - a MiniCPM too

    @override
    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy that keeps the key, and shares HTTP clients that were handed in: they cannot be copied."""
        memo = {} if memo is None else memo
        memo |= {id(used): used for used in (self.http_client, self.async_http_client, self.media_progress)}
        copied = super().__deepcopy__(memo)
        return copied._forget_clients()  # noqa: SLF001 - a MiniCPM too

    @override
    def __getstate__(self) -> dict[str, Any]:
        """The state without the key, headers and HTTP clients: the process that loads it reads its own environment."""
        bare = self.model_copy(update=dict.fromkeys(_NOT_PICKLED))
        return super(MiniCPMSettings, bare).__getstate__()

    @override
    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state["__dict__"])  # type: ignore[misc]

    # -- The end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close what the synchronous calls opened. The object can be used again."""
        if self._client is not None:
            self._client.close()

    async def aclose(self) -> None:
        """Close what all calls opened. The object can be used again."""
        self.close()
        if self._aclient is not None:
            await self._aclient.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


_CHANGES_CLIENTS = frozenset({*_OPTIONS, *_CONNECTION, "http_client", "async_http_client"})
