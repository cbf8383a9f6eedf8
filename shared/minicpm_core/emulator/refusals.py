"""How each kind of server words a refusal, as data: a `Refusal` says what was wrong, a row of a table how it is said.

The bodies are those that the servers themselves send: vLLM 0.32, llama-server, transformers serve 5.23 and Ollama as
seen on the wire or in their source, and the hosted API's from reports of its users.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from minicpm_core.emulator.values import filled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind: TypeAlias = Literal[
    "bad_audio",
    "bad_base64",
    "bad_image",
    "bad_json",
    "bad_value",
    "bad_video",
    "content_type",
    "context_overflow",
    "injected",
    "media_kind",
    "media_url",
    "missing_field",
    "no_codec",
    "not_an_object",
    "stop_refused",
    "template",
    "too_large",
    "tool_arguments",
    "unauthorized",
    "unknown_field",
    "unknown_model",
    "unknown_path",
    "wrong_method",
    "wrong_type",
]
"""What can be wrong with a request."""


class Refusal(Exception):  # noqa: N818 - it is an answer to the caller, not a failure of the emulator
    """The request is refused.

    Attributes:
        kind: What was wrong: chooses the row of the dialect's table.
        facts: What the row's words may name. `said` is the whole story in words, `param` the field at fault.
    """

    def __init__(self, kind: Kind, said: str = "", **facts: Any) -> None:
        """Refuse for a reason."""
        super().__init__(said or kind)
        self.kind: Kind = kind
        self.facts: dict[str, Any] = {"said": said, "param": None, **facts}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    """How a dialect words one kind of refusal.

    Attributes:
        status: The HTTP status.
        type: The `type` of the error object.
        words: The message; names in braces are facts of the refusal.
        body: The whole JSON body, where it has a shape of its own. Strings in it are filled in like `words`.
        param: The `param` of the error object; `None` is the field at fault as it is.
        plain: The body is plain text: the words alone.
        facts: Facts that stand in the error object beside the message.
    """

    status: int = 400
    type: str = ""
    words: str = "{said}"
    body: Mapping[str, Any] | None = None
    param: str | None = None
    plain: bool = False
    facts: tuple[str, ...] = ()


ErrorTable: TypeAlias = "Mapping[Kind | Literal['otherwise'], ErrorRow]"
ErrorShape: TypeAlias = Literal["openai", "llamacpp", "detail"]


def _openai(row: ErrorRow, said: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    param = facts["param"] if row.param is None else row.param.format_map(facts)
    return {"error": {"message": said, "type": row.type, "param": param, "code": row.status}}


def _llamacpp(row: ErrorRow, said: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    beside = {name: facts[name] for name in row.facts}
    return {"error": {"code": row.status, "message": said, "type": row.type, **beside}}


def _detail(row: ErrorRow, said: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    del row, facts
    return {"detail": said}


_SHAPES: dict[ErrorShape, Callable[[ErrorRow, str, Mapping[str, Any]], dict[str, Any]]] = {
    "openai": _openai,
    "llamacpp": _llamacpp,
    "detail": _detail,
}


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A refusal as it goes out.

    Attributes:
        status: The HTTP status.
        media_type: Of the body.
        body: The bytes.
    """

    status: int
    media_type: str
    body: bytes


def worded(refusal: Refusal, table: ErrorTable, shape: ErrorShape) -> ErrorReply:
    """A refusal in a dialect's words."""
    row = table.get(refusal.kind) or table["otherwise"]
    row = replace(row, status=refusal.facts.get("status", row.status))
    said = row.words.format_map(refusal.facts)
    if row.plain:
        return ErrorReply(row.status, "text/plain; charset=utf-8", said.encode())
    body = _SHAPES[shape](row, said, refusal.facts) if row.body is None else filled(row.body, refusal.facts)
    return ErrorReply(row.status, "application/json", json.dumps(body, ensure_ascii=False).encode())


_VALIDATION = "1 validation error:\n  {{'type': '{code}', 'loc': 'body.{param}', 'msg': '{said}', 'input': '{given}'}}"
_NOT_FOUND: dict[str, Any] = {"detail": "Not Found"}
_BAD_METHOD: dict[str, Any] = {"detail": "Method Not Allowed"}

VLLM: ErrorTable = {
    "otherwise": ErrorRow(type="BadRequestError"),
    "bad_json": ErrorRow(
        type="Bad Request",
        words="1 validation error:\n  {{'type': 'json_invalid', 'loc': 'body.{position}', 'msg': 'JSON decode error', "
        "'input': '<dict of 0 items>', 'ctx': {{'error': '{said}'}}}}",
        param="body.{position}",
    ),
    "content_type": ErrorRow(
        type="Bad Request",
        words="1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
    ),
    "not_an_object": ErrorRow(
        type="Bad Request",
        words="1 validation error:\n  {{'type': '{code}', 'loc': 'body', 'msg': '{said}', 'input': '{given}'}}",
        param="body",
    ),
    "missing_field": ErrorRow(type="Bad Request", words=_VALIDATION, param="body.{param}"),
    "wrong_type": ErrorRow(type="Bad Request", words=_VALIDATION, param="body.{param}"),
    "context_overflow": ErrorRow(
        type="BadRequestError",
        words="This model's maximum context length is {n_ctx} tokens. However, your prompt contains at least "
        "{n_prompt_tokens} input tokens, which exceeds this limit even without any output tokens. Please reduce the "
        "length of the input prompt. (parameter=input_tokens, value={n_prompt_tokens})",
    ),
    "too_large": ErrorRow(status=413, type="RequestEntityTooLarge"),
    "unauthorized": ErrorRow(status=401, body={"error": "Unauthorized"}),
    "unknown_model": ErrorRow(
        status=404, type="NotFoundError", words="The model `{model}` does not exist. Valid aliases: {offered}."
    ),
    "unknown_path": ErrorRow(status=404, body=_NOT_FOUND),
    "wrong_method": ErrorRow(status=405, body=_BAD_METHOD),
}

MODELBEST: ErrorTable = {
    **VLLM,
    "unauthorized": ErrorRow(
        status=401,
        body={
            "error": {"code": "invalid_api_key", "message": "API 密钥无效或已停用", "type": "invalid_api_key"},
        },
    ),
    "unknown_model": ErrorRow(
        status=404,
        body={"error": {"message": "无法根据 model 定位推理服务", "type": "lis_route_denied", "code": 404}},
    ),
}

_TRACE = "\n------------\nWhile executing CallExpression at line 1, column 1 in source:\nError: Jinja Exception: {said}"

_NOT_LOADED = ErrorRow(type="invalid_request_error", words="Failed to load image or audio file")

LLAMACPP: ErrorTable = {
    "otherwise": ErrorRow(type="invalid_request_error"),
    "bad_audio": _NOT_LOADED,
    "bad_base64": _NOT_LOADED,
    "bad_image": _NOT_LOADED,
    "bad_video": _NOT_LOADED,
    "bad_json": ErrorRow(
        status=500,
        type="server_error",
        words="[json.exception.parse_error.101] parse error at line {line}, column {column}: {said}",
    ),
    "context_overflow": ErrorRow(
        type="exceed_context_size_error",
        words="request ({n_prompt_tokens} tokens) exceeds the available context size ({n_ctx} tokens), "
        "try increasing it",
        facts=("n_prompt_tokens", "n_ctx"),
    ),
    "media_kind": ErrorRow(
        status=500,
        type="server_error",
        words="{media} input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
    ),
    "missing_field": ErrorRow(type="invalid_request_error", words="'{param}' is required"),
    "not_an_object": ErrorRow(type="invalid_request_error", words="'messages' is required"),
    "template": ErrorRow(status=500, type="server_error", words=_TRACE),
    "too_large": ErrorRow(status=413, type="invalid_request_error"),
    "tool_arguments": ErrorRow(
        status=500, type="server_error", words="Failed to parse tool call arguments as JSON: {said}"
    ),
    "unauthorized": ErrorRow(status=401, type="authentication_error", words="Invalid API Key"),
    "unknown_path": ErrorRow(status=404, type="not_found_error", words="File Not Found"),
    "wrong_method": ErrorRow(status=404, type="not_found_error", words="File Not Found"),
    "wrong_type": ErrorRow(
        type="invalid_request_error",
        words="Field '{param}': [json.exception.type_error.302] type must be {wanted}, but is {given_type}",
    ),
}

_NOT_A_DICT = ErrorRow(
    status=422,
    body={"detail": [{"type": "dict_type", "loc": ["body"], "msg": "Input should be a valid dictionary"}]},
)

TRANSFORMERS: ErrorTable = {
    "otherwise": ErrorRow(status=500, words="Internal Server Error", plain=True),
    "bad_json": ErrorRow(
        status=422,
        body={
            "detail": [
                {
                    "type": "json_invalid",
                    "loc": ["body", "{position}"],
                    "msg": "JSON decode error",
                    "input": {},
                    "ctx": {"error": "{said}"},
                }
            ]
        },
    ),
    "content_type": _NOT_A_DICT,
    "injected": ErrorRow(status=500),
    "no_codec": ErrorRow(),
    "not_an_object": _NOT_A_DICT,
    "too_large": ErrorRow(status=413),
    "unauthorized": ErrorRow(status=401, words="Unauthorized"),
    "unknown_field": ErrorRow(status=422, words="Unexpected fields in the request: {{{names}}}"),
    "unknown_model": ErrorRow(status=400, words="Server is pinned to '{first}'; requested '{model}'."),
    "unknown_path": ErrorRow(status=404, body=_NOT_FOUND),
    "wrong_method": ErrorRow(status=405, body=_BAD_METHOD),
}


def _ollama(kind: str, said: str = "{said}") -> dict[str, Any]:
    return {"error": {"message": said, "type": kind, "param": None, "code": None}}


OLLAMA: ErrorTable = {
    "otherwise": ErrorRow(body=_ollama("invalid_request_error")),
    "bad_base64": ErrorRow(body=_ollama("invalid_request_error", "invalid image input")),
    "bad_image": ErrorRow(status=500, body=_ollama("api_error", "Failed to load image or audio file")),
    "injected": ErrorRow(status=500, body=_ollama("api_error")),
    "media_kind": ErrorRow(body=_ollama("invalid_request_error", "invalid message format")),
    "media_url": ErrorRow(body=_ollama("invalid_request_error", "invalid image input")),
    "too_large": ErrorRow(status=413, body=_ollama("invalid_request_error")),
    "unauthorized": ErrorRow(status=401, body={"error": "unauthorized"}),
    "unknown_model": ErrorRow(status=404, body=_ollama("not_found_error", "model '{model}' not found")),
    "unknown_path": ErrorRow(status=404, plain=True, words="404 page not found"),
    "wrong_method": ErrorRow(status=405, plain=True, words="405 method not allowed"),
}
