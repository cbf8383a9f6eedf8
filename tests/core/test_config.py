"""Settings: where they come from, and what is refused before anything is sent."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from minicpm_core.config import ClientConfig, Timeouts, as_timeouts, checked_headers, normalise_base_url
from minicpm_core.errors import ConfigurationError
from minicpm_core.secret import Secret

_KEY = "sk-a-made-up-key"


class _Boxed:
    """A secret as Pydantic has them."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def get_secret_value(self) -> Any:
        return self._value


def _revealed(config: ClientConfig) -> str | None:
    return None if config.api_key is None else config.api_key.reveal()


# --- Where settings come from ----------------------------------------------------------------------------------------


def test_without_any_setting() -> None:
    config = ClientConfig.create()
    assert config.model == "MiniCPM-V-4.6-1B"
    assert config.base_url == "https://api.modelbest.cn/v1"
    assert config.backend == "auto"
    assert config.api_key is None
    assert config.timeout is None
    assert (config.max_retries, config.max_retry_after, config.max_response_bytes) == (2, 60.0, 64 * 1024 * 1024)
    assert config.options == {}


def test_the_environment_wins_over_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICPM_MODEL", "m")
    monkeypatch.setenv("MINICPM_BASE_URL", "http://h:1/v2/")
    monkeypatch.setenv("MINICPM_BACKEND", "vllm")
    monkeypatch.setenv("MINICPM_API_KEY", _KEY)
    config = ClientConfig.create()
    assert (config.model, config.base_url, config.backend, _revealed(config)) == ("m", "http://h:1/v2", "vllm", _KEY)


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODEL", "BASE_URL", "BACKEND", "API_KEY"):
        monkeypatch.setenv(f"MINICPM_{name}", "not used, and not even valid\n")
    config = ClientConfig.create(model="m", base_url="http://h/v1", backend="auto", api_key=_KEY)
    assert (config.model, config.base_url, config.backend, _revealed(config)) == ("m", "http://h/v1", "auto", _KEY)


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({"MINICPM_API_KEY": "first", "MODELBEST_API_KEY": "second"}, "first"),
        ({"MODELBEST_API_KEY": "second"}, "second"),
        ({"MINICPM_API_KEY": "", "MODELBEST_API_KEY": "second"}, "second"),
        ({"MINICPM_API_KEY": ""}, None),
        ({}, None),
    ],
)
def test_the_key_of_the_environment(
    environment: dict[str, str], key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _revealed(ClientConfig.create()) == key


def test_an_empty_key_is_no_key_and_does_not_ask_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICPM_API_KEY", _KEY)
    assert ClientConfig.create(api_key="").api_key is None


@pytest.mark.parametrize("given", [_KEY, Secret(_KEY), _Boxed(_KEY)])
def test_a_key_may_come_in_a_box(given: Any) -> None:
    assert _revealed(ClientConfig.create(api_key=given)) == _KEY


# --- The key ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", ["\n", "\r", "\0", " ", "\t", "é", "\u200b", "ключ"])
@pytest.mark.parametrize("box", [str, Secret, _Boxed])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(odd: str, box: Any) -> None:
    with pytest.raises(ConfigurationError, match="API key holds") as caught:
        ClientConfig.create(api_key=box(_KEY + odd))
    assert _KEY not in str(caught.value)


def test_a_key_of_the_environment_that_cannot_be_sent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICPM_API_KEY", f"{_KEY}\n")
    with pytest.raises(ConfigurationError, match="newline") as caught:
        ClientConfig.create()
    assert _KEY not in str(caught.value)


@pytest.mark.parametrize("given", [5, b"bytes-key", [_KEY], _Boxed(5)])
def test_a_key_is_text(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="api_key must be a string, not") as caught:
        ClientConfig.create(api_key=given)
    assert _KEY not in str(caught.value)


def test_the_key_and_the_headers_are_not_shown_nor_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ClientConfig.create(api_key=_KEY, default_headers={"x-token": "another-secret"})
    for shown in (repr(config), str(config)):
        assert _KEY not in shown
        assert "another-secret" not in shown
    data = pickle.dumps(config)
    assert _KEY.encode() not in data
    other = pickle.loads(data)
    assert other.api_key is None
    monkeypatch.setenv("MINICPM_API_KEY", "sk-of-the-other-process")
    assert _revealed(other.with_key_from_environment()) == "sk-of-the-other-process"
    assert config.with_key_from_environment() is config


def test_what_must_be_redacted() -> None:
    """The key, and header values that are long enough to be secrets."""
    config = ClientConfig.create(api_key=_KEY, default_headers={"x-token": "another-secret", "x-flag": "1"})
    assert config.secrets == (_KEY, "another-secret")
    assert ClientConfig.create().secrets == ()


# --- The base URL ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("http://localhost:8000//", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("http://localhost:8000/chat/completions/", "http://localhost:8000/v1"),
        ("https://h/api/v3", "https://h/api/v3"),
        (" https://h/v1 \n", "https://h/v1"),
        ("HTTPS://H/v1", "https://H/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://bücher.example/v1", "http://bücher.example/v1"),
    ],
)
def test_base_urls_are_brought_into_one_form(given: str, url: str) -> None:
    assert normalise_base_url(given) == url
    assert ClientConfig.create(base_url=given).base_url == url


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("localhost:8000", "must begin with http:// or https://"),
        ("/v1", "must begin with http://"),
        ("ftp://h/v1", "must begin with http://"),
        ("http://", "must begin with http://"),
        ("http:///v1", "must begin with http://"),
        ("   ", "must be a string that says something"),
        ("http://h h/v1", "must begin with http://"),
        ("http://h/\x00", "must begin with http://"),
        ("http://[::1/v1", "is not a URL"),
        ("http://h:port/v1", "is not a URL"),
        ("http://h:99999/v1", "is not a URL"),
        ("http://h/v1?key=1", "must not hold a query"),
        ("http://h/v1#a", "must not hold a query or a fragment"),
        (b"http://h/v1", "must be a string"),
    ],
)
def test_a_base_url_that_is_none_is_refused(given: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        ClientConfig.create(base_url=given)


@pytest.mark.parametrize(
    "given", ["http://user:hunter2@h/v1", "ftp://user:hunter2@h", "http://u:hunter2@h:x/v1", "u:hunter2@h"]
)
def test_a_password_in_a_base_url_is_refused_without_being_shown(given: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClientConfig.create(base_url=given)
    assert "hunter2" not in str(caught.value)


# --- Numbers and names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [
        ("max_retries", -1),
        ("max_retries", 1.0),
        ("max_retries", True),
        ("max_retries", "2"),
        ("max_retry_after", -1),
        ("max_retry_after", float("nan")),
        ("max_retry_after", "60"),
        ("max_retry_after", True),
        ("max_response_bytes", 0),
        ("max_response_bytes", 1e6),
        ("backend", "vLLM"),
        ("backend", 5),
        ("model", 5),
        ("model", "  "),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", float("nan")),
        ("timeout", True),
        ("timeout", "10"),
        ("timeout", (5, 10)),
        ("timeout", Timeouts(connect=-1)),
        ("timeout", Timeouts(read=0)),
        ("timeout", SimpleNamespace(connect="1", read=1, write=1, pool=1)),
        ("default_headers", [("a", "b")]),
        ("default_headers", {"a": 1}),
        ("default_headers", {1: "a"}),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_by_name(setting: str, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=setting if setting != "default_headers" else "[Hh]eader"):
        ClientConfig.create(**{setting: wrong})


def test_an_unknown_backend_is_told_the_known_ones() -> None:
    with pytest.raises(
        ConfigurationError, match="auto, modelbest, vllm, sglang, llamacpp, ollama, transformers, generic"
    ):
        ClientConfig.create(backend="openai")


def test_no_retries_and_no_wait_are_settings_too() -> None:
    config = ClientConfig.create(max_retries=0, max_retry_after=0)
    assert (config.max_retries, config.max_retry_after) == (0, 0.0)


# --- Timeouts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "timeouts"),
    [
        (None, Timeouts(10.0, 300.0, 60.0, 60.0)),
        (5, Timeouts(5.0, 5.0, 5.0, 5.0)),
        (120.5, Timeouts(10.0, 120.5, 120.5, 120.5)),
        (float("inf"), Timeouts(None, None, None, None)),
        (1e12, Timeouts(None, None, None, None)),
        (10**400, Timeouts(None, None, None, None)),
        (Timeouts(read=None), Timeouts(10.0, None, 60.0, 60.0)),
        (SimpleNamespace(connect=1, read=None, write=2.5, pool=float("inf")), Timeouts(1.0, None, 2.5, None)),
    ],
)
def test_timeouts_in_every_form(given: Any, timeouts: Timeouts) -> None:
    assert as_timeouts(given) == timeouts
    assert ClientConfig.create(timeout=given).timeout == (None if given is None else timeouts)


def test_timeouts_of_httpx_are_taken() -> None:
    httpx = pytest.importorskip("httpx")
    assert as_timeouts(httpx.Timeout(7.0, connect=1.0)) == Timeouts(1.0, 7.0, 7.0, 7.0)
    assert as_timeouts(httpx.Timeout(None)) == Timeouts(None, None, None, None)


def test_a_call_may_have_its_own_timeout() -> None:
    config = ClientConfig.create(timeout=5)
    assert config.with_timeout(None) is config
    assert config.with_timeout(1).timeout == Timeouts(1.0, 1.0, 1.0, 1.0)
    assert config.timeout == Timeouts(5.0, 5.0, 5.0, 5.0)
    assert Timeouts(1.0, None).as_dict() == {"connect": 1.0, "read": None, "write": 60.0, "pool": 60.0}


# --- Headers ---------------------------------------------------------------------------------------------------------


def test_headers_are_copied() -> None:
    given = {"X-Trace": "a b"}
    config = ClientConfig.create(default_headers=given)
    given["X-Trace"] = "changed"
    assert config.default_headers == {"X-Trace": "a b"}


@pytest.mark.parametrize("value", ["a\nb", "a\r", "\0", "é", " a", "a ", "a\tb"])
def test_a_header_value_that_cannot_be_sent_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(ConfigurationError, match="X-Token") as caught:
        checked_headers({"X-Token": f"{_KEY}{value}" if value != " a" else f" {_KEY}"})
    assert _KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "a\n", f"Authorization: {_KEY}"])
def test_a_header_name_that_cannot_be_sent_is_refused_without_being_shown(name: str) -> None:
    with pytest.raises(ConfigurationError, match="header's name") as caught:
        checked_headers({name: "x"})
    assert _KEY not in str(caught.value)


def test_options_are_copied() -> None:
    options: Any = {"temperature": 0.5}
    config = ClientConfig.create(options=options)
    options["temperature"] = 2.0
    assert config.options == {"temperature": 0.5}
