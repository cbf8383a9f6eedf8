"""Errors that are both this library's and langchain-core's own.

Every error that leaves `ChatMiniCPM` is an instance of the class of `minicpm_core.errors` that was raised, with all its
attributes, and of the class of `langchain_core.exceptions` that says the same, so that `except` works with either and
LangChain's retry and fallback middleware judges it rightly.  `CLASSES` is the table of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from langchain_core import exceptions as langchain

from minicpm_core import errors as core

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """What a trace shows of an answer that was an error: no header, and no more than the excerpt.

    Attributes:
        status_code: The HTTP status.
        text: The excerpt of the body, with the key removed.
        code: The server's own code.
    """

    status_code: int
    text: str
    code: str | None = None

    def json(self) -> dict[str, Any]:
        """The excerpt as tracers like it."""
        return {"message": self.text, "code": self.code}


class _Answered(core.APIStatusError):
    """An error that langchain-core may describe in a trace."""

    @property
    def response(self) -> ErrorResponse:
        """What may be shown of the answer."""
        return ErrorResponse(self.status_code, self.body, self.code)


class ConfigurationError(core.ConfigurationError, langchain.ModelError):
    """A setting is missing or impossible. Nothing was sent."""


class InvalidInputError(core.InvalidInputError, langchain.ModelInvalidRequestError):
    """A message or a parameter cannot be sent. Nothing was sent."""


class PromptTooLongError(core.PromptTooLongError, langchain.ContextOverflowError):
    """The prompt cannot fit the model's context. Nothing was sent."""


class UnsupportedContentError(core.UnsupportedContentError, langchain.ModelInvalidRequestError):
    """A kind of content that the model, the server or this version does not take. Nothing was sent."""


class InvalidMediaError(core.InvalidMediaError, langchain.ModelInvalidRequestError):
    """A picture that is not one, or is broken. Nothing was sent."""


class UnsupportedFeatureError(core.UnsupportedFeatureError, langchain.ModelInvalidRequestError):
    """The server, the model or this version cannot do what was asked."""


class APIError(core.APIError, langchain.ModelError):
    """A request was made and did not end well."""


class APIStatusError(_Answered, langchain.ModelError):
    """The server answered with an error that has no class of its own."""


class AuthenticationError(_Answered, core.AuthenticationError, langchain.ModelAuthenticationError):
    """The key is missing or wrong."""


class PermissionDeniedError(_Answered, core.PermissionDeniedError, langchain.ModelPermissionDeniedError):
    """The key may not do this."""


class NotFoundError(_Answered, core.NotFoundError, langchain.ModelNotFoundError):
    """The server has no such path or thing."""


class ModelNotFoundError(_Answered, core.ModelNotFoundError, langchain.ModelNotFoundError):
    """The server does not serve this model."""


class InvalidRequestError(_Answered, core.InvalidRequestError, langchain.ModelInvalidRequestError):
    """The server refused the request as it is."""


class ContextOverflowError(
    _Answered, core.ContextOverflowError, langchain.ContextOverflowError, langchain.ModelInvalidRequestError
):
    """The prompt does not fit the context."""


class UnprocessableMediaError(_Answered, core.UnprocessableMediaError, langchain.ModelInvalidRequestError):
    """The server could not use a picture."""


class RateLimitError(_Answered, core.RateLimitError, langchain.ModelRateLimitError):
    """Too many requests."""


class QuotaExceededError(_Answered, core.QuotaExceededError, langchain.ModelRateLimitError):
    """The account has no credit left."""


class ServerError(_Answered, core.ServerError, langchain.ModelAPIError):
    """The server failed."""


class APITimeoutError(core.APITimeoutError, langchain.ModelTimeoutError):
    """No answer in time."""


class APIConnectionError(core.APIConnectionError, langchain.ModelConnectionError):
    """The server could not be reached, or the connection broke."""


class StreamInterruptedError(core.StreamInterruptedError, langchain.ModelConnectionError):
    """A stream ended before the answer did."""


class ToolCallError(core.ToolCallError, langchain.ModelAPIError):
    """`tool_choice` was not honoured."""


class TruncatedReplyError(core.TruncatedReplyError, langchain.ModelAPIError):
    """The answer ended at its token limit, where only a whole one is of use."""


class MalformedReplyError(core.MalformedReplyError, langchain.ModelAPIError):
    """The answer is not one."""


class StructuredOutputError(core.StructuredOutputError, langchain.OutputParserException):
    """The model's answer does not fit the schema."""

    def __init__(self, message: str, **attributes: Any) -> None:
        """Tell of the answer as LangChain's own parsers do, too, in `llm_output` and `observation`."""
        super().__init__(message, **attributes)
        self.llm_output = self.text
        self.observation = self.problem


CLASSES: Final[dict[type[core.MiniCPMError], type[core.MiniCPMError]]] = {
    core.ConfigurationError: ConfigurationError,
    core.InvalidInputError: InvalidInputError,
    core.PromptTooLongError: PromptTooLongError,
    core.UnsupportedContentError: UnsupportedContentError,
    core.InvalidMediaError: InvalidMediaError,
    core.UnsupportedFeatureError: UnsupportedFeatureError,
    core.APIError: APIError,
    core.APIStatusError: APIStatusError,
    core.AuthenticationError: AuthenticationError,
    core.PermissionDeniedError: PermissionDeniedError,
    core.NotFoundError: NotFoundError,
    core.ModelNotFoundError: ModelNotFoundError,
    core.InvalidRequestError: InvalidRequestError,
    core.ContextOverflowError: ContextOverflowError,
    core.UnprocessableMediaError: UnprocessableMediaError,
    core.RateLimitError: RateLimitError,
    core.QuotaExceededError: QuotaExceededError,
    core.ServerError: ServerError,
    core.APITimeoutError: APITimeoutError,
    core.APIConnectionError: APIConnectionError,
    core.StreamInterruptedError: StreamInterruptedError,
    core.ToolCallError: ToolCallError,
    core.TruncatedReplyError: TruncatedReplyError,
    core.MalformedReplyError: MalformedReplyError,
    core.StructuredOutputError: StructuredOutputError,
}
"""The class to raise in LangChain for each class of the core; a subclass that is not listed takes its parent's."""


def as_langchain(
    error: core.MiniCPMError, *, classes: Mapping[type[core.MiniCPMError], type[core.MiniCPMError]] = CLASSES
) -> core.MiniCPMError:
    """The same error in the class that langchain-core knows too, with its attributes, notes and traceback.

    `is_retryable` is what the core judged of this very answer: a 429 is worth a retry, an empty account is not.
    """
    if isinstance(error, langchain.LangChainException):
        return error
    for base in type(error).__mro__:
        chosen = classes.get(base)
        if chosen is not None:
            break
    else:
        return error
    attributes = {name: value for name, value in vars(error).items() if name != "message"}
    attributes["is_retryable"] = bool(getattr(error, "retryable", False))
    return chosen(error.message, **attributes).with_traceback(error.__traceback__)
