"""Everything that this library raises, in one tree.

    MiniCPMError
    ├── ConfigurationError (ValueError)      a setting is missing or cannot be; nothing was sent
    ├── InvalidInputError (ValueError)       a message or parameter cannot be sent; nothing was sent
    │   ├── PromptTooLongError               counted before it is sent: it cannot fit the model's context
    │   └── UnsupportedContentError          a kind of content that the model, server or this version does not take
    │       └── InvalidMediaError            a medium that is not one, or is broken
    ├── APIError                             a request was made
    │   ├── APIStatusError                   the server answered with an error
    │   │   ├── AuthenticationError          401: the key is missing or wrong
    │   │   ├── PermissionDeniedError        403
    │   │   ├── NotFoundError                404
    │   │   │   └── ModelNotFoundError       the server does not serve this model
    │   │   ├── InvalidRequestError          400, 422: the server refused the request
    │   │   │   ├── ContextOverflowError     the prompt does not fit; n_ctx and n_prompt where the server tells
    │   │   │   └── UnprocessableMediaError  the server could not use a picture
    │   │   ├── RateLimitError               429; retry_after where the server tells
    │   │   │   └── QuotaExceededError       the account has no more credit
    │   │   └── ServerError                  5xx
    │   ├── APITimeoutError (TimeoutError)   no answer in time
    │   ├── APIConnectionError (ConnectionError)  no connection, or it broke
    │   │   └── StreamInterruptedError       a stream was cut; `partial` has what was received
    │   ├── ToolCallError                    `tool_choice` was not honoured; `partial` has the answer
    │   ├── TruncatedReplyError              cut at its token limit where a whole answer is needed; `partial` has it
    │   └── MalformedReplyError              an answer that is not one: HTML, empty, broken JSON, too large
    ├── StructuredOutputError (ValueError)   the model's answer does not fit the schema; `text` has it
    └── UnsupportedFeatureError (NotImplementedError)  the server, the model or this version cannot do what was asked

A message says what happened and what to do next.  It never holds the key, a header or the payload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minicpm_core.types import Completion


class MiniCPMError(Exception):
    """Base of all errors of this library."""

    def __init__(self, message: str, **attributes: Any) -> None:
        """Keep the attributes apart from the message, so that the error survives a pickle.

        Args:
            message: What happened and what to do next.
            **attributes: Values of the class's annotated attributes.
        """
        super().__init__(message)
        self.message = message
        self.__dict__.update(attributes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild by attribute, since `Exception` would pass positional arguments only."""
        return (_rebuild, (type(self), self.message, {k: v for k, v in self.__dict__.items() if k != "message"}))


def _rebuild(cls: type[MiniCPMError], message: str, attributes: dict[str, Any]) -> MiniCPMError:
    return cls(message, **attributes)


class ConfigurationError(MiniCPMError, ValueError):
    """A setting is missing or impossible. Nothing was sent."""


class InvalidInputError(MiniCPMError, ValueError):
    """A message or a parameter cannot be sent as it is. Nothing was sent."""


class UnsupportedContentError(InvalidInputError):
    """A kind of content that the model, the server or this version does not take. Nothing was sent."""


class InvalidMediaError(UnsupportedContentError):
    """A picture, video, recording or document that is not one, is broken or is too large. Nothing was sent.

    But for a file that is read while it is sent: where it changes meanwhile, the request is broken off.
    """


class PromptTooLongError(InvalidInputError):
    """The prompt cannot fit the model's context, counted before anything was sent.

    Attributes:
        n_ctx: Tokens that fit.
        n_prompt: Tokens that the prompt has at least.
    """

    n_ctx: int | None = None
    n_prompt: int | None = None


class UnsupportedFeatureError(MiniCPMError, NotImplementedError):
    """The server, the model or this version cannot do what was asked."""


class APIError(MiniCPMError):
    """A request was made and did not end well.

    Attributes:
        request_id: The request id that the server gave, for its operators.
        retryable: Whether the same request may succeed later.
        attempts: How many requests were made.
        partial: What a stream had received before it ended; `None` if nothing.
    """

    request_id: str | None = None
    retryable: bool = False
    attempts: int = 1
    partial: Completion | None = None


class APIStatusError(APIError):
    """The server answered with an error.

    Attributes:
        status_code: The HTTP status. An error inside a stream has the status 200 or the code that the server gave.
        code: The server's own code or type, as text.
        body: A readable excerpt of the body, with the key removed.
        retry_after: Seconds that the server asked to wait; `None` if it did not.
    """

    status_code: int = 0
    code: str | None = None
    body: str = ""
    retry_after: float | None = None


class AuthenticationError(APIStatusError):
    """The key is missing or wrong (401)."""


class PermissionDeniedError(APIStatusError):
    """The key may not do this (403)."""


class NotFoundError(APIStatusError):
    """The server has no such path or thing (404)."""


class ModelNotFoundError(NotFoundError):
    """The server does not serve this model.

    Attributes:
        model: What was asked for.
        available: The ids that the server offers, where it tells.
        suggestion: The nearest of them.
    """

    model: str = ""
    available: tuple[str, ...] = ()
    suggestion: str | None = None


class InvalidRequestError(APIStatusError):
    """The server refused the request as it is (400, 422)."""


class ContextOverflowError(InvalidRequestError):
    """The prompt, or the prompt and the answer asked for, do not fit the context.

    Attributes:
        n_ctx: Tokens that the server can take; `None` if it did not tell.
        n_prompt: Tokens of the prompt; `None` if the server did not tell. Some tell a lower bound.
    """

    n_ctx: int | None = None
    n_prompt: int | None = None


class UnprocessableMediaError(InvalidRequestError):
    """The server could not read, fetch or use a picture, or takes fewer of them."""


class RateLimitError(APIStatusError):
    """Too many requests (429)."""


class QuotaExceededError(RateLimitError):
    """The account has no credit or quota left; waiting a moment does not help."""


class ServerError(APIStatusError):
    """The server failed (5xx)."""


class APITimeoutError(APIError, TimeoutError):
    """No answer in time.

    Attributes:
        phase: `connect`, `write`, `read` or `pool`.
    """

    phase: str = "read"
    retryable = True


class APIConnectionError(APIError, ConnectionError):
    """The server could not be reached, or the connection broke.

    Attributes:
        sent: The request had been sent, so that the server may have worked on it.
        stale: It broke on a pooled connection before any byte came, as one that the server had closed does.
    """

    sent: bool = False
    stale: bool = False
    retryable = True


class StreamInterruptedError(APIConnectionError):
    """A stream ended before the answer did. `partial` has what was received."""


class ToolCallError(APIError):
    """`tool_choice` was not honoured: a tool had to be called and was not, or the other way about. See `partial`."""


class TruncatedReplyError(APIError):
    """The answer ended at its token limit, where only a whole one is of use. `partial` has what was written."""


class MalformedReplyError(APIError):
    """The answer is not one: HTML from a proxy, an empty body, broken JSON, or more than the cap.

    Attributes:
        status_code: The HTTP status.
        body: A readable excerpt.
    """

    status_code: int = 0
    body: str = ""


class StructuredOutputError(MiniCPMError, ValueError):
    """The model answered, and the answer does not fit the schema that was asked for.

    The message holds none of the answer.

    Attributes:
        text: The answer as the model wrote it.
        problem: What is wrong with it, in the validator's words, which may quote it.
        truncated: The answer ended at its token limit.
    """

    text: str = ""
    problem: str = ""
    truncated: bool = False
