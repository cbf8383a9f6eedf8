"""The way of a call, without I/O: generators that say what to do next and are told how it went.

A flow yields a command and is sent an outcome; what it returns is the result.  The two shells (`client.py`, `aio.py`)
only carry commands out, so retries, fallbacks and error mapping exist once.

    Send(request)    ->  Reply(status, headers, body), Opened(headers) or Failure(error)
    Read()           ->  bytes, b"" at the end, or Failure(error)      (after Opened)
    Sleep(seconds)   ->  None
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from minicpm_core.backends import BACKENDS, Backend, backend_for_models_reply
from minicpm_core.config import Timeouts
from minicpm_core.errors import (
    APIError,
    APIStatusError,
    InvalidRequestError,
    ModelNotFoundError,
    StreamInterruptedError,
)
from minicpm_core.protocol.failures import error_for_status, with_offer
from minicpm_core.protocol.reply import ReplyContext, parse_completion, parse_models
from minicpm_core.protocol.request import Prepared, Request, ServerTraits, headers_for
from minicpm_core.protocol.retry import asks_too_long, retry_delay
from minicpm_core.protocol.rules import refuses_tools
from minicpm_core.protocol.stream import StreamDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from minicpm_core.config import ClientConfig
    from minicpm_core.types import Completion, Delta, ModelInfo

_OK = 200
_SAYS_NOTHING = frozenset({401, 403, 408, 429}) | frozenset(range(500, 600))
_LISTING_TIMEOUT = Timeouts(5.0, 10.0, 10.0, 10.0)


@dataclass(frozen=True, slots=True)
class Send:
    """Make a request. A streamed one is answered by `Opened` where the status is 200."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Read the next bytes of the opened stream."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream that began."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer, or a broken one."""

    error: APIError


Command: TypeAlias = Send | Read | Sleep
Outcome: TypeAlias = Reply | Opened | Failure | bytes | None
T = TypeVar("T")
Flow: TypeAlias = Generator[Command, Outcome, T]
Attempt: TypeAlias = Callable[[Prepared], Flow[T]]


@dataclass(frozen=True, slots=True)
class Begun:
    """A stream whose first deltas are there."""

    decoder: StreamDecoder
    deltas: list[Delta]


def complete_flow(prepare: Callable[[], Prepared], config: ClientConfig, traits: ServerTraits) -> Flow[Completion]:
    """A whole completion, with retries.

    Args:
        prepare: Builds the request; called again for each try, since what was learned may change it.
        config: The client's settings.
        traits: What was learned about the server.
    """
    return (yield from _with_retries(prepare, config, traits, _complete_once))


def stream_flow(prepare: Callable[[], Prepared], config: ClientConfig, traits: ServerTraits) -> Flow[Begun]:
    """A stream up to its first deltas, with retries: nothing has been handed on before it returns."""
    return (yield from _with_retries(prepare, config, traits, _begin_once))


def _complete_once(prepared: Prepared) -> Flow[Completion]:
    reply = _answered((yield Send(prepared.request)))
    if reply.status != _OK:
        raise error_for_status(reply.status, reply.headers, reply.body, prepared.context)
    return parse_completion(reply.status, reply.headers, reply.body, prepared.context)


def _begin_once(prepared: Prepared) -> Flow[Begun]:
    opened = yield Send(prepared.request)
    if not isinstance(opened, Opened):
        refused = _answered(opened)
        raise error_for_status(refused.status, refused.headers, refused.body, prepared.context)
    decoder = StreamDecoder(opened.headers, prepared.context)
    deltas: list[Delta] = []
    while not deltas:
        chunk = yield Read()
        if isinstance(chunk, Failure):
            raise cut_short(decoder, chunk.error)
        deltas = decoder.feed(chunk) if isinstance(chunk, bytes) and chunk else decoder.finish()
    return Begun(decoder, deltas)


def _answered(outcome: Outcome) -> Reply:
    """The reply.

    Raises:
        APIError: There was none.
    """
    if isinstance(outcome, Failure):
        raise outcome.error
    return cast("Reply", outcome)


def cut_short(decoder: StreamDecoder, error: APIError) -> APIError:
    """The error for a stream that failed: a broken connection as an interrupted stream, anything else as it is."""
    if isinstance(error, StreamInterruptedError) or not isinstance(error, ConnectionError):
        error.partial = decoder.partial
        return error
    interrupted = decoder.interrupted(error.message)
    interrupted.__cause__ = error.__cause__
    return interrupted


def _with_retries(
    prepare: Callable[[], Prepared], config: ClientConfig, traits: ServerTraits, attempt_once: Attempt[T]
) -> Flow[T]:
    attempt = 0
    while True:
        attempt += 1
        prepared = prepare()
        try:
            return (yield from attempt_once(prepared))
        except APIError as error:
            error.attempts = attempt
            learned = _learned_from(error, prepared, traits)  # also where only the next call may make use of it
            if learned and attempt <= config.max_retries:
                continue
            delay = retry_delay(
                error,
                attempt=attempt,
                max_retries=config.max_retries,
                max_retry_after=config.max_retry_after,
                uniform=random.uniform,
            )
            if delay is None:
                raise (yield from _explained(error, config, prepared)) from error.__cause__
        yield Sleep(delay)


def _learned_from(error: APIError, prepared: Prepared, traits: ServerTraits) -> bool:
    """Whether the refusal taught something that makes the next try another request."""
    refuses_usage = (
        isinstance(error, InvalidRequestError)
        and traits.stream_usage
        and prepared.stream_options
        and ("stream_options" in error.body or "include_usage" in error.body)
    )
    if refuses_usage:
        traits.stream_usage = False
    refuses = isinstance(error, InvalidRequestError) and prepared.may_prompt_tools and refuses_tools(error.message)
    if refuses:
        traits.native_tools = False
    return refuses_usage or refuses


def _explained(error: APIError, config: ClientConfig, prepared: Prepared) -> Flow[APIError]:
    """The error that the caller sees, with what only a further look can tell."""
    if isinstance(error, ModelNotFoundError):
        headers = {name: value for name, value in prepared.request.headers.items() if name != "content-type"}
        rows = yield from _list(headers)
        return with_offer(error, [row.id for row in rows])
    if asks_too_long(error, config.max_retry_after) and isinstance(error, APIStatusError):
        error.message = (
            f"{error.message} The server asks to wait {error.retry_after:g} s, longer than max_retry_after="
            f"{config.max_retry_after:g}, so it was not tried again."
        )
        error.args = (error.message,)
    return error


def _list(headers: Mapping[str, str]) -> Flow[list[ModelInfo]]:
    """The server's models; none where it does not tell."""
    reply = yield Send(Request("GET", "/models", headers, b"", stream=False, timeout=_LISTING_TIMEOUT))
    if not isinstance(reply, Reply) or reply.status != _OK:
        return []
    try:
        return parse_models(reply.body)
    except ValueError:
        return []


def models_flow(config: ClientConfig, backend: Backend) -> Flow[list[ModelInfo]]:
    """The server's models.

    Raises:
        APIError: The server does not tell.
    """
    context = ReplyContext(title=backend.title, secrets=config.secrets, key_help=backend.key_help)
    headers = headers_for(config, backend)
    reply = _answered((yield Send(Request("GET", "/models", headers, b"", stream=False, timeout=None))))
    if reply.status != _OK:
        raise error_for_status(reply.status, reply.headers, reply.body, context)
    try:
        return parse_models(reply.body)
    except ValueError:
        raise error_for_status(reply.status, reply.headers, reply.body, context) from None


def detect_flow(config: ClientConfig, traits: ServerTraits) -> Flow[None]:
    """Learn which backend a server is, from what it says of itself at `GET /models`; `generic` where it does not tell.

    One request, which no server charges for. A failure is no error here, since the request that follows shows it;
    nothing is learned then, so that the question is asked again the next time.
    """
    generic = BACKENDS["generic"]
    headers = headers_for(config, generic)
    reply = yield Send(Request("GET", "/models", headers, b"", stream=False, timeout=_LISTING_TIMEOUT))
    if not isinstance(reply, Reply) or reply.status in _SAYS_NOTHING:
        return
    rows = _rows(reply)
    found = backend_for_models_reply(reply.headers, None if rows is None else [row.raw for row in rows])
    traits.context_windows |= {row.id: row.context_window for row in rows or () if row.context_window}
    traits.backend = found or generic


def _rows(reply: Reply) -> list[ModelInfo] | None:
    """The server's models; `None` where the answer is no list of them."""
    if reply.status != _OK:
        return None
    try:
        return parse_models(reply.body)
    except ValueError:
        return None
