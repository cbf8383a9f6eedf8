"""What the synchronous and the asynchronous client have in common: everything but sending."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from minicpm_core.backends import BACKENDS, Backend, backend_for_url
from minicpm_core.config import ClientConfig, Timeouts
from minicpm_core.errors import APIError, MalformedReplyError
from minicpm_core.protocol.options import merged_options
from minicpm_core.protocol.request import Prepared, Request, ServerTraits, build_request
from minicpm_core.protocol.transport import failure_for

if TYPE_CHECKING:
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
                connections. It is not closed by this object.
            traits: What another client of the same server has learned.
            **settings: Those of `ClientConfig.create`.

        Raises:
            ConfigurationError: A setting cannot be.
        """
        self.config = config if config is not None else ClientConfig.create(**settings)
        self.traits = traits if traits is not None else ServerTraits()
        self._http_client = http_client
        self._urls: dict[str, Any] = {}
        self._detecting = Lock()

    def __repr__(self) -> str:
        """The model and where it is: never the key."""
        return f"{type(self).__name__}(model={self.config.model!r}, base_url={self.config.base_url!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Without sockets; the key's box stays behind in a pickle, and is kept by a copy."""
        return {"config": self.config, "traits": self.traits}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """With the key of the loading process, where the pickle brought none."""
        config: ClientConfig = state["config"]
        self.__init__(config.with_key_from_environment(), traits=state["traits"])

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

    def _preparer(
        self, backend: Backend, messages: Sequence[Message], options: Mapping[str, Any], *, stream: bool
    ) -> Callable[[], Prepared]:
        return lambda: build_request(self.config, backend, self.traits, options, messages, stream=stream)

    def _options(self, options: ChatOptions | None) -> dict[str, Any]:
        return merged_options(self.config, options)

    def _timeouts(self, request: Request) -> Timeouts:
        return request.timeout or self.config.timeout

    def _http_request(self, client: Any, request: Request) -> Any:
        """The request as an object of the HTTP library."""
        timeout = self._timeouts(request).as_dict()
        if self._http_client is not None:  # with its own headers, cookies and base settings
            url = self.config.base_url + request.path
            return client.build_request(
                request.method, url, headers=dict(request.headers), content=request.body, extensions={"timeout": timeout}
            )
        import httpx  # noqa: PLC0415 - at the first call, not at import

        url = self._urls.get(request.path)
        if url is None:
            url = self._urls[request.path] = httpx.URL(self.config.base_url + request.path)
        headers = [(name.encode(), value.encode()) for name, value in request.headers.items()]
        return httpx.Request(
            request.method, url, headers=headers, content=request.body, extensions={"timeout": timeout}
        )

    def _transport_failure(self, error: Exception, request: Request, *, reused: bool) -> APIError:
        """The caller's error for a transport's.

        Raises:
            Exception: The same, if it is none of a transport.
        """
        found = failure_for(
            error,
            url=self.config.base_url,
            reused=reused,
            timeout_read=self._timeouts(request).read,
            secrets=self.config.secrets,
        )
        if found is None:
            raise error
        found.__cause__ = error
        return found

    def _too_large(self) -> MalformedReplyError:
        return MalformedReplyError(
            f"{self.config.base_url} answered with more than {self.config.max_response_bytes} bytes. "
            "Raise max_response_bytes if such an answer is expected."
        )


def lower_headers(headers: Any) -> dict[str, str]:
    """Response headers with lower-case names; of repeated ones, the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers.raw}


def fits(headers: Mapping[str, str], limit: int) -> bool:
    """Whether a body is announced to be within the limit and comes as it is."""
    length = headers.get("content-length", "")
    return length.isdigit() and int(length) <= limit and "content-encoding" not in headers
