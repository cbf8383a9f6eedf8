"""The key and the headers are shown nowhere, and travel nowhere but to the server."""

from __future__ import annotations

import copy
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd, dumps
from pydantic import SecretStr, ValidationError

from langchain_minicpm import ChatMiniCPM
from minicpm_core import errors
from tests.langchain.conftest import KEY
from tests.support.server import whole

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import ScriptedServer

HEADER = "tenant-secret-4711"
CALL_HEADER = "call-secret-0815"
SECRETS = (KEY, HEADER, CALL_HEADER)


@pytest.fixture
def guarded(server: ScriptedServer) -> ChatMiniCPM:
    return ChatMiniCPM(
        api_key=KEY,
        base_url=server.base_url,
        backend="vllm",
        max_retries=0,
        default_headers={"x-tenant": HEADER},
    )


class Everything(BaseCallbackHandler):
    """Keeps all that a tracer is given."""

    raise_error = True

    def __init__(self) -> None:
        self.seen: list[str] = []

    def _keep(self, *args: Any, **kwargs: Any) -> None:
        self.seen.append(repr((args, kwargs)))

    on_chat_model_start = on_llm_new_token = on_llm_end = on_llm_error = _keep


def test_they_reach_the_server(guarded: ChatMiniCPM, server: ScriptedServer) -> None:
    guarded.invoke("Hello", extra_headers={"x-call": CALL_HEADER})
    headers = server.requests[-1].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert (headers["x-tenant"], headers["x-call"]) == (HEADER, CALL_HEADER)


@pytest.mark.parametrize("called", [False, True])
def test_no_representation_shows_them(guarded: ChatMiniCPM, called: bool) -> None:
    if called:
        guarded.invoke("Hello")
    shown = {
        "repr": repr(guarded),
        "str": str(guarded),
        "dumps": dumps(guarded),
        "dumpd": repr(dumpd(guarded)),
        "model_dump": repr(guarded.model_dump()),
        "model_dump_json": guarded.model_dump_json(),
        "asdict": repr(guarded.asdict()),
        "identifying": repr(guarded._identifying_params),
        "invocation": repr(guarded._get_invocation_params(extra_headers={"x-call": CALL_HEADER})),
        "langsmith": repr(guarded._get_ls_params(extra_headers={"x-call": CALL_HEADER})),
        "cache key": guarded._get_llm_string(extra_headers={"x-call": CALL_HEADER}),
        "pickle": repr(pickle.dumps(guarded)),
        "clients": repr(guarded._clients()),
        "bound": repr(guarded.bind(stop=["x"])),
    }
    for where, text in shown.items():
        assert not [secret for secret in SECRETS if secret in text], where


def test_a_changed_key_is_boxed_too(guarded: ChatMiniCPM, server: ScriptedServer) -> None:
    guarded.api_key = "sk-another-1234567890"  # type: ignore[assignment]  # as users do
    assert "sk-another" not in repr(guarded)
    guarded.invoke("Hello")
    assert server.requests[-1].headers["authorization"] == "Bearer sk-another-1234567890"
    changed = guarded.model_copy(update={"api_key": "sk-third-1234567890"})
    assert "sk-third" not in repr(changed)
    changed.invoke("Hello")
    assert server.requests[-1].headers["authorization"] == "Bearer sk-third-1234567890"


@pytest.mark.parametrize("status", [200, 401])
def test_no_callback_is_given_them(guarded: ChatMiniCPM, server: ScriptedServer, status: int) -> None:
    if status != 200:
        echoed = {"error": {"message": f"Bad key {KEY} from {HEADER}, {CALL_HEADER}", "code": "invalid_api_key"}}
        server.answers[:] = [whole(echoed, status=status)]
    tracer = Everything()
    config: Any = {"callbacks": [tracer]}
    try:
        guarded.invoke("Hello", config, extra_headers={"x-call": CALL_HEADER})
    except errors.AuthenticationError as error:
        text = f"{error} {error!r} {vars(error)}"
        assert not [secret for secret in SECRETS if secret in text]
    assert len(tracer.seen) == 2
    assert not [secret for secret in SECRETS if secret in "".join(tracer.seen)]


def test_a_pickle_takes_the_key_of_its_new_process(guarded: ChatMiniCPM, monkeypatch: pytest.MonkeyPatch) -> None:
    dumped = pickle.dumps(guarded)
    without = pickle.loads(dumped)
    assert without.api_key is None
    assert without.default_headers is None
    monkeypatch.setenv("MINICPM_API_KEY", "sk-elsewhere")
    assert pickle.loads(dumped).api_key == SecretStr("sk-elsewhere")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, ChatMiniCPM.model_copy])
def test_copies_in_the_same_process_keep_them(guarded: ChatMiniCPM, server: ScriptedServer, duplicate: Any) -> None:
    duplicate(guarded).invoke("Hello")
    headers = server.requests[-1].headers
    assert (headers["authorization"], headers["x-tenant"]) == (f"Bearer {KEY}", HEADER)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": f"{KEY}\n"},
        {"api_key": f"{KEY}é"},
        {"api_key": KEY, "temperature": "hot"},
        {"api_key": KEY, "temprature": 0},
        {"api_key": KEY, "base_url": "nowhere"},
        {"api_key": KEY, "backend": "abacus"},
        {"api_key": KEY, "default_headers": {"x-tenant": f"{HEADER}\n"}},
        {"api_key": [KEY]},
        {"api_key": KEY, "default_headers": HEADER},
    ],
)
def test_no_error_of_the_constructor_shows_them(settings: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError)) as caught:
        ChatMiniCPM(**settings)
    assert not [secret for secret in SECRETS if secret in str(caught.value)]
    assert isinstance(caught.value, ValidationError | errors.ConfigurationError)


def test_a_cache_tells_headers_apart_without_knowing_them(guarded: ChatMiniCPM, server: ScriptedServer) -> None:
    guarded.cache = InMemoryCache()
    for value in ("a" * 9, "b" * 9, "a" * 9):
        guarded.invoke("Hello", extra_headers={"x-call": value})
    assert len(server.requests) == 2


def test_a_loaded_model_finds_its_key_in_the_environment(
    guarded: ChatMiniCPM, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stored = json.loads(dumps(guarded))
    assert stored["kwargs"]["api_key"] == {"lc": 1, "type": "secret", "id": ["MINICPM_API_KEY"]}
    assert "default_headers" not in stored["kwargs"]
