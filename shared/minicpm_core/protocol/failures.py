"""Error bodies of every server, mapped to the exception tree by a table.

A body may be `{"error": {...}}`, `{"error": "text"}`, flat (`{"object": "error", "message": …}`), FastAPI's
`{"detail": …}`, plain text or a proxy's HTML; codes are strings or numbers.  `RULES` reads them from the top: the first
rule whose columns all match names the class.  The status comes last, since servers answer 500 for a broken picture and
400 for an unknown model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast

from minicpm_core.errors import (
    APIError,
    APIStatusError,
    AuthenticationError,
    ContextOverflowError,
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
    UnprocessableMediaError,
)
from minicpm_core.secret import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minicpm_core.protocol.reply import ReplyContext

EXCERPT = 500
"""The most characters of a body that an error shows."""

RETRY_STATUSES = frozenset({408, 409, 429}) | (frozenset(range(500, 600)) - {501, 505})
_ANY_5XX = frozenset(range(500, 600))
_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-requestid", "x-correlation-id")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error body says, whatever its shape.

    Attributes:
        message: For a person.
        code: The server's `type` or `code`, whichever is text; the number as text otherwise.
        status: A number in the body that is an HTTP status.
        fields: The innermost object, for the numbers that some servers add.
    """

    message: str
    code: str | None = None
    status: int | None = None
    fields: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of `RULES`: which answers are which error. Columns left out match anything.

    Attributes:
        error: The class.
        status: HTTP statuses.
        code: A pattern searched in the body's code and type.
        message: A pattern searched in its message.
        hint: What to do next.
    """

    error: type[APIStatusError]
    status: frozenset[int] | None = None
    code: re.Pattern[str] | None = None
    message: re.Pattern[str] | None = None
    hint: str = ""


def _p(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_SHORTER = "Send fewer or smaller pictures or a shorter conversation, or start the server with a larger context."
_MEDIA_HINT = "Check that the picture opens elsewhere and that the server takes as many pictures of this type."

RULES: tuple[Rule, ...] = (
    Rule(ContextOverflowError, code=_p(r"exceed_context_size|context_?(length|window)_?exceeded"), hint=_SHORTER),
    Rule(
        ContextOverflowError,
        message=_p(
            r"maximum context length is \d+|exceeds the available context size|longer than the model'?s context length"
            r"|exceeds the model'?s maximum context|prompt \(length \d+\) .*longer than the maximum model length"
        ),
        hint=_SHORTER,
    ),
    Rule(
        QuotaExceededError,
        code=_p(r"insufficient_quota|insufficient_balance|billing|arrears"),
        hint="Check the account's credit with the provider.",
    ),
    Rule(QuotaExceededError, status=frozenset({402}), hint="Check the account's credit with the provider."),
    Rule(AuthenticationError, code=_p(r"invalid_api_key|authentication_error|unauthorized")),
    Rule(AuthenticationError, status=frozenset({401})),
    Rule(ModelNotFoundError, code=_p(r"lis_route_denied|model_not_found")),
    Rule(
        ModelNotFoundError,
        status=frozenset({400, 404}),
        message=_p(r"model [`'\"]?.+[`'\"]? (does not exist|not found)|pinned to '.*'; requested|invalid model name"),
    ),
    Rule(
        UnprocessableMediaError,
        status=frozenset({400, 413, 415, 422}) | _ANY_5XX,
        message=_p(
            r"at most \d+ (image|video|audio)|(load|identify|decode|process|open|download|fetch) [^.]{0,20}"
            r"(image|video|audio|media)|image file is truncated|(image|video|audio) input is not supported"
            r"|invalid (image|video|audio)|base64|url must be either a http|cannot make get request"
            r"|cannot connect to host|image_url|VLLMUnprocessableEntityError"
        ),
        hint=_MEDIA_HINT,
    ),
    Rule(
        InvalidRequestError,
        status=_ANY_5XX,
        message=_p(
            r"parse_error|system message must be|no user query found|unexpected message role|no messages provided"
            r"|unexpected item type|jinja|chat template"
        ),
        hint="The server's chat template or parser refused the request.",
    ),
    Rule(
        APIStatusError,
        status=frozenset(range(300, 400)),
        hint="The server redirects, which is not followed: set base_url to where the API is (https instead of http?).",
    ),
    Rule(PermissionDeniedError, status=frozenset({403})),
    Rule(
        NotFoundError,
        status=frozenset({404, 405, 410}),
        hint="Check base_url: it should end in the API's version, such as /v1.",
    ),
    Rule(RateLimitError, status=frozenset({429})),
    Rule(InvalidRequestError, status=frozenset({400, 406, 411, 412, 413, 414, 415, 422, 431})),
    Rule(ServerError, status=_ANY_5XX),
    Rule(RateLimitError, code=_p(r"rate_?limit")),
    Rule(ServerError, code=_p(r"server_?error|unavailable|overloaded|internal|api_error")),
    Rule(InvalidRequestError, code=_p(r"bad_?request|invalid_request")),
    Rule(APIStatusError),
)

_NUMBERS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("n_ctx", _p(r"maximum context length (?:is|of) (\d+)")),
    ("n_ctx", _p(r"context size \((\d+) tokens\)")),
    ("n_ctx", _p(r"context length \((\d+) tokens\)")),
    ("n_prompt", _p(r"(?:contains at least|resulted in|prompt contains) (\d+) (?:input )?tokens")),
    ("n_prompt", _p(r"(?:request|input) \((\d+) tokens\)")),
    ("n_prompt", _p(r"\((?:length )?(\d+)(?: tokens)?(?: in the messages|\) is longer)")),
)


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The request id of lower-case response headers, where there is one."""
    return next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), None)


def read_error_body(body: Any) -> ErrorBody | None:
    """What a parsed body says of an error; `None` if it says nothing."""
    if not isinstance(body, dict):
        return None
    raw = cast("dict[str, Any]", body)
    error = raw.get("error")
    if isinstance(error, str) and error:
        return ErrorBody(error, code=_text(raw.get("type")) or _text(raw.get("code")) or error)
    if isinstance(error, dict):
        return _from_object(cast("dict[str, Any]", error))
    if raw.get("object") == "error" or ("message" in raw and "choices" not in raw and ("code" in raw or "type" in raw)):
        return _from_object(raw)
    if raw.get("detail") and "choices" not in raw:
        return ErrorBody(_detail(raw["detail"]))
    return None


def _from_object(error: dict[str, Any]) -> ErrorBody:
    code = error.get("code")
    number = int(code) if isinstance(code, int) or (isinstance(code, str) and code.isdigit()) else None
    named = code if isinstance(code, str) and not code.isdigit() else None
    kinds = [text for text in (named, _text(error.get("type"))) if text]
    message = _text(error.get("message")) or _detail(error)
    return ErrorBody(
        message,
        code=" ".join(dict.fromkeys(kinds)) or (str(code) if code is not None else None),
        status=number if number is not None and 400 <= number < 600 else None,  # noqa: PLR2004
        fields=error,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _detail(detail: Any) -> str:
    """FastAPI's `detail`: a text, or a list of what is wrong with which field."""
    if isinstance(detail, str):
        return detail
    if isinstance(detail, list):
        rows = [cast("dict[str, Any]", row) for row in cast("list[Any]", detail) if isinstance(row, dict)]
        return "; ".join(f"{'.'.join(str(step) for step in row.get('loc', ()))}: {row.get('msg', '')}" for row in rows)
    return str(detail)


def error_in_body(
    status: int, headers: Mapping[str, str], body: Any, context: ReplyContext
) -> APIStatusError | None:
    """The error that a parsed answer is although its status is 200; `None` if it is none."""
    found = read_error_body(body)
    if found is None:
        return None
    return _make(status, headers, found, context)


def error_for_status(status: int, headers: Mapping[str, str], body: bytes, context: ReplyContext) -> APIStatusError:
    """The error that an answer with an error status is, whatever its body."""
    import json  # noqa: PLC0415 - only on the way to an error

    try:
        found = read_error_body(json.loads(body))
    except (ValueError, RecursionError):
        found = None
    if found is None:
        head = body[:512].lstrip().lower()
        is_page = head.startswith((b"<!doctype", b"<html")) or "html" in headers.get("content-type", "")
        what = "an HTML page, as a proxy would" if is_page else (excerpt(body, context.secrets) or "an empty body")
        found = ErrorBody(what)
    return _make(status, headers, found, context)


def _make(status: int, headers: Mapping[str, str], body: ErrorBody, context: ReplyContext) -> APIStatusError:
    effective = body.status if status < 400 and body.status else status  # noqa: PLR2004
    rule = next(rule for rule in RULES if _matches(rule, effective, body))
    shown = clean(body.message, context.secrets)
    hint = rule.hint
    if issubclass(rule.error, AuthenticationError):
        source = f"; {context.key_help}" if context.key_help else ""
        hint = f"Check the key in api_key or MINICPM_API_KEY{source}."
    attributes: dict[str, Any] = {
        "status_code": effective,
        "code": clean(body.code, context.secrets) if body.code else None,
        "body": shown,
        "request_id": request_id_of(headers),
        "retry_after": retry_after(headers),
        "retryable": _retryable(rule.error, effective),
    }
    if issubclass(rule.error, ModelNotFoundError):
        attributes["model"] = context.model
    if issubclass(rule.error, ContextOverflowError):
        attributes |= _overflow_numbers(body)
    code = f" ({attributes['code']})" if attributes["code"] and attributes["code"] not in shown else ""
    sentence = shown if shown.endswith((".", "!", "?", "。")) else f"{shown}."
    message = f"{context.title} answered {effective}{code}: {sentence}{' ' + hint if hint else ''}"
    return rule.error(message, **attributes)


def _matches(rule: Rule, status: int, body: ErrorBody) -> bool:
    return (
        (rule.status is None or status in rule.status)
        and (rule.code is None or bool(body.code and rule.code.search(body.code)))
        and (rule.message is None or bool(rule.message.search(body.message)))
    )


def _retryable(error: type[APIError], status: int) -> bool:
    if issubclass(error, QuotaExceededError | InvalidRequestError | NotFoundError | AuthenticationError):
        return False
    return status in RETRY_STATUSES or issubclass(error, RateLimitError | ServerError)


def _overflow_numbers(body: ErrorBody) -> dict[str, int]:
    fields = body.fields or {}
    found = {
        ours: value
        for ours, theirs in (("n_ctx", "n_ctx"), ("n_prompt", "n_prompt_tokens"))
        if isinstance(value := fields.get(theirs), int)
    }
    for name, pattern in _NUMBERS:
        match = pattern.search(body.message)
        if match and name not in found:
            found[name] = int(match.group(1))
    return found


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, from `Retry-After-Ms` or `Retry-After` (seconds or a date)."""
    milliseconds = headers.get("retry-after-ms")
    if milliseconds:
        try:
            return max(0.0, float(milliseconds) / 1000)
        except ValueError:
            pass
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _seconds_until(value, headers.get("date"))
    return max(0.0, seconds) if seconds == seconds else None  # noqa: PLR0124 - not a number


def _seconds_until(date: str, server_date: str | None) -> float | None:
    """From the server's own clock to the date, so that a wrong local clock does no harm."""
    from datetime import UTC, datetime  # noqa: PLC0415 - only on the way to an error

    try:
        then = parsedate_to_datetime(date)
        now = parsedate_to_datetime(server_date) if server_date else datetime.now(UTC)
    except (TypeError, ValueError):
        return None
    if then.tzinfo is None or now.tzinfo is None:
        return None
    return max(0.0, (then - now).total_seconds())


_BASE64_RUN = re.compile(r"[A-Za-z0-9+/=_-]{120,}")


def clean(text: str, secrets: tuple[str, ...]) -> str:
    """A text fit for an error: without keys, payloads and control characters, on one line, and short."""
    text = redact(text, secrets)
    text = _BASE64_RUN.sub(lambda run: f"[{len(run.group())} characters]", text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"


def excerpt(body: bytes, secrets: tuple[str, ...]) -> str:
    """The readable beginning of a body."""
    return clean(body[: EXCERPT * 8].decode("utf-8", "replace"), secrets)


def with_offer(error: ModelNotFoundError, ids: Sequence[str]) -> ModelNotFoundError:
    """The same error, naming the models that the server offers and the nearest of them."""
    lower = {model.lower(): model for model in ids}
    near = get_close_matches(error.model.lower(), list(lower), n=1, cutoff=0.3)
    suggestion = lower[near[0]] if near else None
    listed = ", ".join(ids[:10]) + (" …" if len(ids) > 10 else "")  # noqa: PLR2004
    asked = f" You asked for {error.model!r}."
    offer = f" It offers {listed}." if ids else " It lists no models."
    nearest = f" Did you mean {suggestion!r}?" if suggestion else ""
    attributes = {k: v for k, v in error.__dict__.items() if k != "message"}
    attributes |= {"available": tuple(ids), "suggestion": suggestion}
    return type(error)(f"{error.message}{asked}{offer}{nearest}", **attributes)
