"""What the synchronous and the asynchronous client have in common: everything but sending."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from minicpm_core.backends import BACKENDS, Backend, backend_for_url
from minicpm_core.config import ClientConfig
from minicpm_core.errors import ConfigurationError
from minicpm_core.media import resolve_messages
from minicpm_core.protocol.messages import normalise
from minicpm_core.protocol.options import merged_options
from minicpm_core.protocol.request import Prepared, ServerTraits, build_request

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from minicpm_core.config import ChatOptions
    from minicpm_core.types import Message


class ClientBase:
    """Settings, what was learned about the server, and how both are copied.

    Attributes:
        config: The settings.
        traits: What was learned about the server.
    """

    config: ClientConfig
    traits: ServerTraits

    _enters_by: ClassVar[str]
    _kind: ClassVar[str]

    def __init__(
        self,
        config: ClientConfig | None = None,
        *,
        http_client: Any = None,
        traits: ServerTraits | None = None,
        **settings: Any,
    ) -> None:
        """Nothing is opened, and httpx is not imported, before the first call.

        Args:
            config: Settings; else made from `settings`.
            http_client: An httpx client (or httpx2, or httpx on another transport) to use instead of the shared
                connections. It is used as it is, with its own timeouts unless `timeout` is set, and never closed.
            traits: What another client of the same server has learned.
            **settings: Those of `ClientConfig.create`.

        Raises:
            ConfigurationError: A setting cannot be.
        """
        if http_client is not None and not hasattr(http_client, self._enters_by):
            raise ConfigurationError(
                f"{type(self).__name__} needs {self._kind} HTTP client, such as httpx's; "
                f"{type(http_client).__name__} is none."
            )
        self.config = config if config is not None else ClientConfig.create(**settings)
        self.traits = traits if traits is not None else ServerTraits()
        self._http_client = http_client
        self._ask_after = 0.0

    def __repr__(self) -> str:
        """The model and where it is: never the key."""
        return f"{type(self).__name__}(model={self.config.model!r}, base_url={self.config.base_url!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Without sockets; the key's box stays behind in a pickle, and is kept by a copy."""
        return {"config": self.config, "traits": self.traits}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """With the key of the loading process, where the pickle brought none."""
        config: ClientConfig = state["config"]
        ClientBase.__init__(self, config.with_key_from_environment(), traits=state["traits"])

    def __copy__(self) -> Self:
        """A client with the same settings and the same injected HTTP client."""
        return type(self)(self.config, http_client=self._http_client, traits=self.traits)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """As a copy: settings do not change, and connections cannot be copied."""
        return self.__copy__()

    def _known_backend(self) -> Backend | None:
        """The backend, where settings, URL or an earlier answer tell."""
        if self.traits.backend is None:
            if self.config.backend != "auto":
                self.traits.backend = BACKENDS[self.config.backend]
            else:
                self.traits.backend = backend_for_url(self.config.base_url)
        return self.traits.backend

    def _resolve(
        self,
        messages: Sequence[Message],
        backend: Backend,
        options: Mapping[str, Any],
        stop: threading.Event | None = None,
    ) -> Sequence[Message]:
        """The conversation with its media read and prepared."""
        model = options.get("model") or self.config.model
        return resolve_messages(messages, backend, model=model, settings=self.config.media, stop=stop)

    def _preparer(
        self, backend: Backend, messages: Sequence[Message], options: Mapping[str, Any], *, stream: bool
    ) -> Callable[[], Prepared]:
        return lambda: build_request(self.config, backend, self.traits, options, messages, stream=stream)

    def _checked(self, messages: Sequence[Message], options: ChatOptions | None) -> dict[str, Any]:
        """The options of a call, having checked what needs no server to be known to be wrong."""
        merged = merged_options(self.config, options)
        if self._known_backend() is None:
            normalise(messages)  # before the server is asked what it is
        return merged
