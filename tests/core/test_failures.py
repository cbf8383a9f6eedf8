"""Every error body of every server becomes the right exception, which says what to do next."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
from minicpm_core.protocol.failures import error_for_status, read_error_body, retry_after, with_offer
from minicpm_core.protocol.reply import ReplyContext

_CONTEXT = ReplyContext(title="vLLM", key_help="create one at https://example.org", model="asked-for")


def _error(status: int, body: Any = b"", **headers: str) -> APIStatusError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return error_for_status(status, {name.replace("_", "-"): value for name, value in headers.items()}, data, _CONTEXT)


# --- By status -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (302, APIStatusError, False),
        (400, InvalidRequestError, False),
        (401, AuthenticationError, False),
        (402, QuotaExceededError, False),
        (403, PermissionDeniedError, False),
        (404, NotFoundError, False),
        (405, NotFoundError, False),
        (408, APIStatusError, True),
        (409, APIStatusError, True),
        (413, InvalidRequestError, False),
        (418, APIStatusError, False),
        (422, InvalidRequestError, False),
        (429, RateLimitError, True),
        (500, ServerError, True),
        (501, ServerError, False),
        (502, ServerError, True),
        (503, ServerError, True),
        (504, ServerError, True),
        (505, ServerError, False),
        (529, ServerError, True),
    ],
)
@pytest.mark.parametrize("body", [b"", b"Something went wrong", b'{"error": {"message": "Something went wrong"}}'])
def test_the_status_decides_where_the_body_says_nothing(
    status: int, kind: type[APIStatusError], retryable: bool, body: bytes
) -> None:
    error = _error(status, body)
    assert type(error) is kind
    assert error.status_code == status
    assert error.retryable is retryable
    assert f"vLLM answered {status}" in error.message


# --- Shapes of bodies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "No.", "type": "T", "param": None, "code": 400}}, "No.", "T"),
        ({"error": {"message": "No.", "type": "T", "code": "c"}}, "No.", "c T"),
        ({"error": {"message": "No.", "type": "c", "code": "c"}}, "No.", "c"),
        ({"error": {"message": "No.", "type": None, "code": 1234}}, "No.", "1234"),
        ({"error": {"message": "No.", "code": "400"}}, "No.", "400"),
        ({"error": {"message": "No.", "code": None}}, "No.", None),
        ({"error": {"detail": "No."}}, "No.", None),
        ({"error": {"a": 1}}, '{"a": 1}', None),
        ({"error": "No way."}, "No way.", None),
        ({"error": "Unauthorized"}, "Unauthorized", "Unauthorized"),
        ({"error": "No way.", "code": "c"}, "No way.", "c"),
        ({"error": "forbidden", "message": "No way."}, "No way.", "forbidden"),
        ({"error": True, "message": "No."}, "No.", None),
        ({"error": ["No."]}, '["No."]', None),
        ({"object": "error", "message": "No.", "type": "T", "code": 40001}, "No.", "T"),
        ({"message": "No.", "code": 1}, "No.", "1"),
        ({"message": "No."}, "No.", None),
        ({"detail": "No."}, "No.", None),
        ({"detail": [{"type": "t", "loc": ["body", 3, "x"], "msg": "No."}]}, "body.3.x: No.", None),
        ({"detail": [{"loc": ["a"], "msg": "No."}, {"loc": ["b"], "msg": "Nor."}]}, "a: No.; b: Nor.", None),
        ({"detail": {"error": {"message": "No.", "type": "T"}}}, "No.", "T"),
        ({"detail": {"reason": "No."}}, '{"reason": "No."}', None),
        ({"detail": ["No."]}, '["No."]', None),
    ],
)
def test_a_body_of_any_shape_is_read(body: Any, message: str, code: str | None) -> None:
    error = _error(400, body)
    assert error.body == message
    assert error.code == code
    assert message in error.message


@pytest.mark.parametrize("body", [None, [], "text", 5, {}, {"choices": []}, {"error": None}, {"detail": ""}])
def test_a_body_that_says_nothing_of_an_error(body: Any) -> None:
    assert read_error_body(body) is None


def test_a_reply_is_no_error_though_it_has_a_field_of_such_a_name() -> None:
    for field in ("message", "detail", "code"):
        assert read_error_body({"choices": [], field: "x"}) is None


@pytest.mark.parametrize(
    ("body", "content_type", "says"),
    [
        (b"", "", "answered 502: an empty body."),
        (b"<html><h1>502 Bad Gateway</h1></html>", "", "answered 502: an HTML page, as a proxy would."),
        (b"\n<!DOCTYPE html>", "", "an HTML page"),
        (b"Sign in", "text/html", "an HTML page"),
        (b"upstream connect error", "", "answered 502: upstream connect error."),
        (b'{"error": {"mess', "", 'answered 502: {"error": {"mess.'),
        ("服务不可用。".encode(), "", "answered 502: 服务不可用。"),
        (b"\xff\x00 bin \x1b[31m ary", "", "answered 502: \ufffd bin [31m ary."),
    ],
)
def test_a_body_that_is_no_json_is_shown_or_named(body: bytes, content_type: str, says: str) -> None:
    assert says in _error(502, body, content_type=content_type).message


def test_the_code_is_shown_once() -> None:
    assert "answered 400 (T): No." in _error(400, {"error": {"message": "No.", "type": "T"}}).message
    assert _error(401, {"error": "Unauthorized"}).message.count("Unauthorized") == 1


def test_the_request_id_is_kept() -> None:
    assert _error(500, x_request_id="r1").request_id == "r1"
    assert _error(500, request_id="r2").request_id == "r2"
    assert _error(500, x_correlation_id="r3").request_id == "r3"
    assert _error(500).request_id is None


# --- By what the body says -------------------------------------------------------------------------------------------


def _vllm(message: str, kind: str = "BadRequestError", code: int = 400) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, {"error": {"code": "invalid_api_key", "message": "API 密钥无效或已停用"}}, AuthenticationError),
        (404, {"error": {"message": "无法定位", "type": "lis_route_denied", "code": 404}}, ModelNotFoundError),
        (403, {"error": {"code": "insufficient_quota", "message": "账号未开通计费"}}, QuotaExceededError),
        (429, {"error": {"code": "insufficient_quota", "message": "You exceeded your quota"}}, QuotaExceededError),
        (404, _vllm("The model `x` does not exist.", "NotFoundError", 404), ModelNotFoundError),
        (404, {"error": {"message": 'model "x" not found', "type": "not_found_error"}}, ModelNotFoundError),
        (400, {"detail": "Server is pinned to 'a'; requested 'b'."}, ModelNotFoundError),
        (400, {"error": {"message": "Invalid model name passed in model=x", "code": "400"}}, ModelNotFoundError),
        (404, {"detail": "Not Found"}, NotFoundError),
        (500, {"error": {"code": 500, "message": "Failed to load image or audio file"}}, UnprocessableMediaError),
        (400, _vllm("At most 1 image(s) may be provided in one prompt."), UnprocessableMediaError),
        (422, _vllm("x", "VLLMUnprocessableEntityError", 422), InvalidRequestError),
        (400, {"error": {"message": "invalid image input", "type": "invalid_request_error"}}, UnprocessableMediaError),
        (500, {"error": {"message": "System message must be at the beginning."}}, InvalidRequestError),
        (500, {"error": {"message": "unable to load model: /x", "type": "api_error"}}, ServerError),
        (400, _vllm('"auto" tool choice requires --enable-auto-tool-choice'), InvalidRequestError),
        (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, ServerError),
    ],
)  # fmt: skip
def test_the_body_decides_where_it_says_more_than_the_status(
    status: int, body: Any, kind: type[APIStatusError]
) -> None:
    error = _error(status, body)
    assert type(error) is kind
    if not isinstance(error, ServerError):
        assert not error.retryable


_VLLM = "This model's maximum context length is 4096 tokens. However, "
_SGLANG = "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of "


@pytest.mark.parametrize(
    ("message", "n_ctx", "n_prompt"),
    [
        (f"{_VLLM}your prompt contains at least 5000 input tokens, which exceeds this limit", 4096, 5000),
        (f"{_VLLM}your request has 5000 input tokens.", 4096, 5000),
        (f"{_VLLM}you requested 5500 tokens (5000 in the messages, 500 in the completion).", 4096, 5000),
        (f"{_VLLM}your messages resulted in 5000 tokens.", 4096, 5000),
        (f"{_SGLANG}5500 tokens: 5000 tokens from the input messages and 500 tokens for the completion.", 4096, 5000),
        ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096, 5000),
        ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", 4096, 5000),
        ("request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it", 4096, 5000),
        ("the request exceeds the available context size", None, None),
        ("Your input exceeds the context window of this model.", None, None),
        ("maximum context length is " + "9" * 5000, None, None),
    ],
)
@pytest.mark.parametrize("status", [400, 500])
def test_a_context_overflow_tells_its_numbers(
    message: str, n_ctx: int | None, n_prompt: int | None, status: int
) -> None:
    error = _error(status, _vllm(message))
    assert type(error) is ContextOverflowError
    assert (error.n_ctx, error.n_prompt) == (n_ctx, n_prompt)
    assert "Send fewer or smaller pictures" in error.message


def test_the_numbers_of_a_field_win_over_those_of_the_text() -> None:
    fields = {
        "message": "context size (7 tokens)",
        "type": "exceed_context_size_error",
        "n_ctx": 8,
        "n_prompt_tokens": 9,
    }
    error = _error(400, {"error": fields})
    assert isinstance(error, ContextOverflowError)
    assert (error.n_ctx, error.n_prompt) == (8, 9)


def test_an_authentication_error_says_where_a_key_comes_from() -> None:
    assert _error(401).message.endswith(
        "Check the key in api_key or MINICPM_API_KEY; create one at https://example.org."
    )


def test_a_wrong_path_points_at_the_base_url() -> None:
    assert "Check base_url" in _error(404, {"detail": "Not Found"}).message


def test_a_redirect_is_not_followed_and_says_so() -> None:
    assert "redirects, which is not followed" in _error(308).message


def test_a_server_that_echoes_a_whole_request_is_searched_at_its_head_only() -> None:
    """A hundred thousand words of the caller's own must not decide, nor take minutes."""
    echo = "model " * 100_000
    assert type(_error(400, {"error": {"message": f"Bad. {echo} not found"}})) is InvalidRequestError


# --- Which model then ------------------------------------------------------------------------------------------------


def _missing(model: str) -> ModelNotFoundError:
    context = ReplyContext(title="vLLM", model=model)
    error = error_for_status(404, {}, json.dumps(_vllm(f"The model `{model}` does not exist.")).encode(), context)
    assert isinstance(error, ModelNotFoundError)
    return error


def test_a_missing_model_is_offered_the_nearest() -> None:
    error = with_offer(_missing("minicpm-v-4.6"), ["llama", "openbmb/MiniCPM-V-4_6", "MiniCPM-V-4.6-Instruct"])
    assert error.model == "minicpm-v-4.6"
    assert error.available == ("llama", "openbmb/MiniCPM-V-4_6", "MiniCPM-V-4.6-Instruct")
    assert error.suggestion == "MiniCPM-V-4.6-Instruct"
    assert "You asked for 'minicpm-v-4.6'. It offers llama, openbmb/MiniCPM-V-4_6" in error.message
    assert error.message.endswith("Did you mean 'MiniCPM-V-4.6-Instruct'?")
    assert error.status_code == 404
    assert str(error) == error.message


def test_nothing_like_it_is_no_suggestion() -> None:
    error = with_offer(_missing("MiniCPM-V-4.6"), ["qqq"])
    assert error.suggestion is None
    assert "Did you mean" not in error.message


def test_a_model_is_not_its_own_suggestion() -> None:
    assert with_offer(_missing("a"), ["a"]).suggestion is None


def test_a_server_without_models_says_so() -> None:
    assert "It lists no models." in with_offer(_missing("a"), []).message


def test_a_long_list_is_cut_and_kept() -> None:
    ids = [f"model-{number}" for number in range(400)]
    error = with_offer(_missing("model-7"), [*ids, "", "x" * 10_000])
    assert error.available == tuple(ids)
    assert len(error.message) < 500
    assert "…" in error.message


# --- Retry-After -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Sun, 22 Nov 2026 22:00:30 GMT", "date": "Sun, 22 Nov 2026 22:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 23:00:30 +0100", "date": "Sun, 22 Nov 2026 22:00:00 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 21:00:00 GMT", "date": "Sun, 22 Nov 2026 22:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 22 Nov 2026 22:00:30 -0000", "date": "Sun, 22 Nov 2026 22:00:00 GMT"}, None),
        ({"retry-after": "Sun, 22 Nov 1998 22:00:30 GMT"}, 0.0),
        ({"retry-after": "Sun, 99 Nov 2026 22:00:30 GMT"}, None),
    ],
)
def test_retry_after_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    """Of a date, from the server's own clock: a wrong clock here does no harm."""
    assert retry_after(headers) == seconds
    error = error_for_status(429, headers, b"", _CONTEXT)
    assert error.retry_after == seconds
