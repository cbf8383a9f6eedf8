"""Error bodies of every server, mapped to the exception tree by a table.

A body may be `{"error": {...}}`, `{"error": "text"}`, flat (`{"object": "error", "message": …}`), FastAPI's
`{"detail": …}`, plain text or a proxy's HTML; codes are strings or numbers.  `protocol.rules` has the table.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import (
    APIError,
    APIStatusError,
    AuthenticationError,
    ContextOverflowError,
    InvalidRequestError,
    ModelNotFoundError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from minicpm_core.protocol.fields import list_of, number_of, object_of, text_of, written
from minicpm_core.protocol.rules import RETRY_STATUSES, overflow_numbers, rule_for
from minicpm_core.secret import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minicpm_core.protocol.reply import ReplyContext

EXCERPT = 500
"""The most characters of a body that an error shows."""

_LOOKED_AT = 100_000
"""Characters of a body that are read to find those that are shown."""

_LONGEST_ID = 200

_ERROR_STATUSES = range(400, 600)
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
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


def request_id_of(headers: Mapping[str, str], secrets: tuple[str, ...]) -> str | None:
    """The request id of lower-case response headers, where there is one, without what the server may have echoed."""
    found = next((headers[name] for name in _REQUEST_ID_HEADERS if headers.get(name)), None)
    return clean(found, secrets) if found else None


def read_error_body(body: Any) -> ErrorBody | None:
    """What a parsed body says of an error; `None` if it says nothing."""
    raw = object_of(body)
    error = raw.get("error")
    if isinstance(error, dict) and error:
        return _from_object(object_of(error))
    said = text_of(raw.get("message"))
    if isinstance(error, str) and error:
        word = error if len(error.split()) == 1 else None  # `Unauthorized` is a code, a sentence is not
        return ErrorBody(said or error, code=text_of(raw.get("type")) or text_of(raw.get("code")) or word)
    if raw.get("object") == "error" or (said and "choices" not in raw):
        return _from_object(raw)
    if error:
        return ErrorBody(written(error))
    if raw.get("detail") and "choices" not in raw:
        return _from_detail(raw["detail"])
    return None


def _from_object(error: dict[str, Any]) -> ErrorBody:
    code, kind = error.get("code"), text_of(error.get("type"))
    number = number_of(code)
    named = text_of(code) if number is None else None
    kinds = dict.fromkeys(text for text in (named, kind) if text)
    return ErrorBody(
        text_of(error.get("message")) or _from_detail(error.get("detail")).message or written(error),
        code=" ".join(kinds) or (str(number) if number is not None else None),
        status=number if number in _ERROR_STATUSES else None,
        fields=error,
    )


def _from_detail(detail: Any) -> ErrorBody:
    """FastAPI's `detail`: a text, an error of another shape, or a list of what is wrong with which field."""
    if isinstance(detail, str) or not detail:
        return ErrorBody(detail or "")
    rows = [object_of(row) for row in list_of(detail)]
    told = "; ".join(
        f"{'.'.join(str(step) for step in list_of(row.get('loc')))}: {row['msg']}" for row in rows if row.get("msg")
    )
    return ErrorBody(told) if told else read_error_body(detail) or ErrorBody(written(detail))


def error_in_body(status: int, headers: Mapping[str, str], body: Any, context: ReplyContext) -> APIStatusError | None:
    """The error that a parsed answer is although its status is 200; `None` if it is none."""
    found = read_error_body(body)
    if found is None:
        return None
    return _make(status, headers, found, context)


def error_for_status(status: int, headers: Mapping[str, str], body: bytes, context: ReplyContext) -> APIStatusError:
    """The error that an answer with an error status is, whatever its body."""
    import json

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
    effective = body.status if status not in _ERROR_STATUSES and body.status else status
    rule = rule_for(effective, body.code, body.message)
    shown = clean(body.message, context.secrets) or "an error without a message"
    hint = rule.hint
    if issubclass(rule.error, AuthenticationError):
        source = f"; {context.key_help}" if context.key_help else ""
        hint = f"Check the key in api_key or MINICPM_API_KEY{source}."
    attributes: dict[str, Any] = {
        "status_code": effective,
        "code": clean(body.code, context.secrets) if body.code else None,
        "body": shown,
        "request_id": request_id_of(headers, context.secrets),
        "retry_after": retry_after(headers),
        "retryable": _retryable(rule.error, effective),
    }
    if issubclass(rule.error, ModelNotFoundError):
        attributes["model"] = context.model
    if issubclass(rule.error, ContextOverflowError):
        attributes |= overflow_numbers(body.message, body.fields)
    code = f" ({attributes['code']})" if attributes["code"] and attributes["code"] not in shown else ""
    sentence = shown if shown.endswith((".", "!", "?", "。")) else f"{shown}."
    message = f"{context.title} answered {effective}{code}: {sentence}{' ' + hint if hint else ''}"
    return rule.error(message, **attributes)


def _retryable(error: type[APIError], status: int) -> bool:
    if issubclass(error, QuotaExceededError | InvalidRequestError | NotFoundError | AuthenticationError):
        return False
    if status in _ERROR_STATUSES:
        return status in RETRY_STATUSES
    return issubclass(error, RateLimitError | ServerError)


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
    return None if math.isnan(seconds) else max(0.0, seconds)


def _seconds_until(date: str, server_date: str | None) -> float | None:
    """From the server's own clock to the date, so that a wrong local clock does no harm."""
    from datetime import UTC, datetime

    try:
        then = parsedate_to_datetime(date)
        now = parsedate_to_datetime(server_date) if server_date else datetime.now(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    if then.tzinfo is None or now.tzinfo is None:
        return None
    return max(0.0, (then - now).total_seconds())


_BASE64_RUN = re.compile(r"[A-Za-z0-9+/=_-]{120,}")


def clean(text: str, secrets: tuple[str, ...]) -> str:
    """A text fit for an error: without keys, payloads and control characters, on one line, and short."""
    shown = redact(text[:_LOOKED_AT], secrets)
    if len(text) > _LOOKED_AT:
        longest = max(map(len, secrets), default=0)
        shown = shown[: -12 * longest or None]  # the cut may have left the head of a key, each character escaped
    shown = _BASE64_RUN.sub(lambda run: f"[{len(run.group())} characters]", shown)
    shown = " ".join("".join(c if c.isprintable() else " " for c in shown[: EXCERPT * 8]).split())
    return shown if len(shown) <= EXCERPT else f"{shown[:EXCERPT]}…"


def excerpt(body: bytes, secrets: tuple[str, ...]) -> str:
    """The readable beginning of a body."""
    return clean(body[: 4 * _LOOKED_AT].decode("utf-8", "replace"), secrets)


def with_offer(error: ModelNotFoundError, offered: Sequence[str]) -> ModelNotFoundError:
    """The same error, naming the models that the server offers and the nearest of them."""
    ids = [model for model in offered if 0 < len(model) <= _LONGEST_ID]
    lower = {model.lower(): model for model in ids if model != error.model}
    near = get_close_matches(error.model.lower(), list(lower), n=1, cutoff=0.3)
    suggestion = lower[near[0]] if near else None
    listed = ", ".join(ids[:10]) + (" …" if len(ids) > 10 else "")  # noqa: PLR2004
    asked = f" You asked for {error.model!r}."
    offer = f" It offers {listed}." if ids else " It lists no models."
    nearest = f" Did you mean {suggestion!r}?" if suggestion else ""
    attributes = {k: v for k, v in error.__dict__.items() if k != "message"}
    attributes |= {"available": tuple(ids), "suggestion": suggestion}
    return type(error)(f"{error.message}{asked}{offer}{nearest}", **attributes)
