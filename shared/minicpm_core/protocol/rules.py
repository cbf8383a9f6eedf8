"""Which answers are which error: a table.

`RULES` is read from the top: the first rule whose columns all match names the class.  The status comes last, since
servers answer 500 for a broken picture and 400 for an unknown model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import (
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
from minicpm_core.protocol.fields import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRY_STATUSES = frozenset({408, 409, 429}) | (frozenset(range(500, 600)) - {501, 505})
_ANY_5XX = frozenset(range(500, 600))


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
_MEDIA_HINT = "Check that it opens elsewhere and that the server takes as many media of this type."

RULES: tuple[Rule, ...] = (
    Rule(ContextOverflowError, code=_p(r"exceed_context_size|context_?(length|window)_?exceeded"), hint=_SHORTER),
    Rule(
        ContextOverflowError,
        message=_p(
            r"maximum context length is \d+|exceeds the available context size|longer than the model'?s context length"
            r"|exceeds? the (model'?s )?(maximum )?context (length|window)"
            r"|prompt \(length \d+\) .*longer than the maximum model length"
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
    ("n_ctx", _p(r"maximum (?:context|model) length (?:is|of) (\d{1,12})\b")),
    ("n_ctx", _p(r"context size \((\d{1,12}) tokens\)")),
    ("n_ctx", _p(r"context length \((\d{1,12}) tokens\)")),
    ("n_prompt", _p(r"(?:contains at least|resulted in|prompt contains|request has) (\d{1,12}) (?:input )?tokens")),
    ("n_prompt", _p(r"(?:request|input) \((\d{1,12}) tokens\)")),
    ("n_prompt", _p(r"\((?:length )?(\d{1,12})(?: tokens)?(?: in the messages|\) is longer)")),
    ("n_prompt", _p(r"(\d{1,12}) tokens from the input")),
)
_NO_TOOLS: tuple[re.Pattern[str], ...] = (
    _p(r"tool.choice requires --enable-auto-tool-choice"),  # vLLM without a parser, "auto"
    _p(r"requires --tool-call-parser to be set"),  # vLLM without a parser, "required" and by name
    _p(r"tool(s|_choice) param requires --jinja"),  # llama-server
    _p(r"does not support (tools|tool calling|function calling)"),  # Ollama and others
    _p(r"(does not support parameters|unexpected fields in the request): ?[\[{][^\]}]*'tools'"),  # LiteLLM, strict ones
)
"""How servers say that they take no tools."""
_LOOKED_AT = 4000
"""Characters of a message that are searched: a server may echo a whole request in it."""


def rule_for(status: int, code: str | None, message: str) -> Rule:
    """The first rule that an answer matches; the last one matches every answer.

    Args:
        status: The HTTP status, or what the body says it is.
        code: The code and the type in the body.
        message: The message in the body.
    """
    head = message[:_LOOKED_AT]
    return next(
        rule
        for rule in RULES
        if (rule.status is None or status in rule.status)
        and (rule.code is None or (code is not None and rule.code.search(code[:_LOOKED_AT])))
        and (rule.message is None or rule.message.search(head))
    )


def refuses_tools(message: str) -> bool:
    """Whether a server's words say that it takes no tools, however they are declared in the request."""
    head = message[:_LOOKED_AT]
    return any(pattern.search(head) for pattern in _NO_TOOLS)


def overflow_numbers(message: str, fields: Mapping[str, Any]) -> dict[str, int]:
    """`n_ctx` and `n_prompt`, as far as a context overflow's body tells them."""
    told = {"n_ctx": number_of(fields.get("n_ctx")), "n_prompt": number_of(fields.get("n_prompt_tokens"))}
    found = {name: value for name, value in told.items() if value is not None}
    for name, pattern in _NUMBERS:
        match = pattern.search(message[:_LOOKED_AT])
        if match and name not in found:
            found[name] = int(match.group(1))
    return found
