"""Backend profiles, and how a server is recognised."""

from __future__ import annotations

from typing import Any

import pytest

from minicpm_core.backends import BACKENDS, STANDARD_FIELDS, backend_for_models_reply, backend_for_url

_UVICORN = {"server": "uvicorn", "x-request-id": "5"}
_PLAIN_ROW = {"id": "m", "object": "model", "created": 1, "owned_by": "someone"}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.modelbest.cn/v1", "modelbest"),
        ("https://api.modelbest.co/v1", "modelbest"),
        ("https://MODELBEST.cn:443/v1", "modelbest"),
        ("https://notmodelbest.cn/v1", None),
        ("https://modelbest.cn.example.org/v1", None),
        ("https://example.org/modelbest.cn", None),
        ("http://localhost:8000/v1", None),
        ("http://localhost:11434/v1", None),
        ("", None),
    ],
)
def test_a_url_tells_the_hosted_backend_only(url: str, name: str | None) -> None:
    found = backend_for_url(url)
    assert (found and found.name) == name


@pytest.mark.parametrize(
    ("headers", "rows", "name"),
    [
        ({}, [{"id": "m", "owned_by": "vllm", "max_model_len": 5}], "vllm"),
        ({"server": "uvicorn"}, [{"id": "m", "owned_by": "VLLM"}], "vllm"),
        (_UVICORN, [{**_PLAIN_ROW, "owned_by": "vllm"}], "vllm"),
        ({}, [{"id": "m", "owned_by": "sglang"}], "sglang"),
        ({"server": "llama.cpp"}, [{"id": "m", "owned_by": "llamacpp"}], "llamacpp"),
        ({"server": "llama.cpp"}, None, "llamacpp"),
        ({}, [{"id": "m", "owned_by": "llamacpp"}], "llamacpp"),
        ({}, [{"id": "m", "owned_by": "library"}], "ollama"),
        (_UVICORN, [], "transformers"),
        (_UVICORN, [_PLAIN_ROW, _PLAIN_ROW], "transformers"),
        (_UVICORN, [{**_PLAIN_ROW, "root": "x"}], None),
        (_UVICORN, None, None),
        ({"server": "uvicorn"}, [], None),
        ({"server": "uvicorn"}, [_PLAIN_ROW], None),
        ({"server": "cloudflare"}, [_PLAIN_ROW], None),
        ({}, [], None),
        ({}, None, None),
        ({}, [{"id": "m"}, {"owned_by": None}, {"owned_by": 5}], None),
    ],
)
def test_a_server_is_recognised_by_what_it_says_of_itself(
    headers: dict[str, str], rows: list[dict[str, Any]] | None, name: str | None
) -> None:
    """As vLLM 0.32, SGLang, llama-server, Ollama and `transformers serve` 5.23 answer `GET /v1/models`."""
    found = backend_for_models_reply(headers, rows)
    assert (found and found.name) == name


def test_every_row_is_under_its_own_name() -> None:
    assert {name: row.name for name, row in BACKENDS.items()} == {name: name for name in BACKENDS}


def test_only_the_hosted_api_needs_a_key_and_says_where_to_get_one() -> None:
    assert [name for name, row in BACKENDS.items() if row.needs_key] == ["modelbest"]
    assert "https://platform.modelbest.cn" in BACKENDS["modelbest"].key_help
    assert [name for name, row in BACKENDS.items() if row.resolves_aliases] == ["modelbest"]


def test_what_a_strict_server_takes_is_listed_in_full() -> None:
    """A field that this library sends by name must never be refused by our own table."""
    for row in BACKENDS.values():
        if row.fields is not None:
            assert row.fields >= STANDARD_FIELDS | {"stream_options"}
            assert row.ignores <= row.fields
            assert row.thinking in row.fields


def test_every_server_takes_jpeg_and_png() -> None:
    assert all(row.image_types >= {"image/jpeg", "image/png"} for row in BACKENDS.values())
