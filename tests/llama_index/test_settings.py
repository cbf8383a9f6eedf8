"""Settings: where they come from, what they cost, that they can be changed and copied, and that secrets stay secret."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from typing import Any

import httpx
import pytest
from llama_index.core.bridge.pydantic import ValidationError
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.rate_limiter import TokenBucketRateLimiter

from llama_index_minicpm import MiniCPM
from minicpm_core import ConfigurationError, Timeouts
from tests.llama_index.support import KEY, ask, sent, user
from tests.support.server import ScriptedServer, completion, whole

HEADER = "a-secret-header-of-the-tests"


def secretive() -> MiniCPM:
    return MiniCPM(
        base_url="http://nowhere.invalid/v1",
        api_key=KEY,
        default_headers={"x-token": HEADER},
        temperature=0.5,
        stop=["a"],
    )


def test_it_is_one_function_calling_llm() -> None:
    """LlamaIndex's MultiModalLLM is broken in 0.14, and both at once would double every event."""
    names = [base.__name__ for base in MiniCPM.__mro__]
    assert issubclass(MiniCPM, FunctionCallingLLM)
    assert issubclass(MiniCPM, LLM)
    assert "MultiModalLLM" not in names


def test_its_class_name_tells_the_multimodal_engines() -> None:
    assert MiniCPM.class_name() == "minicpm_multi_modal_llm"


# -- Where settings come from ------------------------------------------------------------------------------------------


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICPM_API_KEY", KEY)
    monkeypatch.setenv("MINICPM_BASE_URL", "http://localhost:1234")
    monkeypatch.setenv("MINICPM_MODEL", "mine")
    monkeypatch.setenv("MINICPM_BACKEND", "sglang")
    llm = MiniCPM()
    assert (llm.base_url, llm.model, llm.backend) == ("http://localhost:1234/v1", "mine", "sglang")
    assert llm.api_key is not None
    assert llm.api_key.get_secret_value() == KEY


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICPM_MODEL", "theirs")
    assert MiniCPM(model="mine").model == "mine"


def test_defaults_are_the_vendors_hosted_model() -> None:
    llm = MiniCPM()
    assert (llm.model, llm.base_url, llm.backend) == ("MiniCPM-V-4.6-1B", "https://api.modelbest.cn/v1", "auto")
    assert llm.api_key is None


def test_api_base_is_another_name_of_base_url() -> None:
    llm = MiniCPM(api_base="http://localhost:1")
    assert llm.api_base == llm.base_url == "http://localhost:1/v1"
    llm.api_base = "http://localhost:2/v1"  # type: ignore[misc]
    assert llm.base_url == "http://localhost:2/v1"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (5, 5.0),
        (Timeouts(read=7), Timeouts(read=7)),
        (httpx.Timeout(1, read=9), Timeouts(1, 9, 1, 1)),
        (None, None),
    ],
)
def test_timeouts_of_every_form_are_taken(given: Any, kept: Any) -> None:
    assert MiniCPM(timeout=given).timeout == kept


def test_an_unknown_setting_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"MiniCPM has no setting 'temprature'\. Did you mean 'temperature'\?"):
        MiniCPM(temprature=1)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"backend": "vlm"}, "backend"),
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"api_key": "a\nb"}, "key"),
        ({"timeout": -1}, "timeout"),
        ({"max_retries": -1}, "max_retries"),
        ({"default_headers": {"x": "a\nb"}}, "'x'"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"timeout": "long"}, "timeout"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(setting: dict[str, Any], named: str) -> None:
    settings: dict[str, Any] = {"api_key": KEY, **setting}
    with pytest.raises((ConfigurationError, ValidationError), match=named) as caught:
        MiniCPM(**settings)
    assert KEY not in str(caught.value)


def test_every_field_is_a_setting() -> None:
    """LlamaIndex rebuilds an object from its fields."""
    llm = MiniCPM()
    again = MiniCPM(**{name: getattr(llm, name) for name in MiniCPM.model_fields})
    assert again.to_dict() == llm.to_dict()


def test_a_subclass_may_add_fields() -> None:
    class Mine(MiniCPM):
        flavour: str = "plain"

    llm = Mine(flavour="vanilla", model="mine")
    assert (llm.flavour, llm.model) == ("vanilla", "mine")


# -- What it says of itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "window", "output", "tools"),
    [
        ({"model": "MiniCPM-V-4.6-1B"}, 32_768, -1, True),
        ({"model": "MiniCPM-V-4.6-1B", "context_window": 100_000, "max_tokens": 64}, 100_000, 64, True),
        ({"model": "MiniCPM-O-4.5-9B"}, 32_768, -1, False),
        ({"model": "MiniCPM-O-4.5-9B", "is_function_calling": True}, 32_768, -1, True),
        ({"model": "MiniCPM-V-4.6-1B", "is_function_calling": False}, 32_768, -1, False),
        ({"model": "something else"}, 32_768, -1, True),
    ],
)
def test_metadata_comes_from_settings_and_card(settings: dict[str, Any], window: int, output: int, tools: bool) -> None:
    metadata = MiniCPM(base_url="http://nowhere.invalid/v1", **settings).metadata
    assert metadata.model_name == settings["model"]
    assert (metadata.context_window, metadata.num_output) == (window, output)
    assert (metadata.is_chat_model, metadata.is_function_calling_model) == (True, tools)


# -- Changes -----------------------------------------------------------------------------------------------------------


def test_changed_settings_take_effect_at_the_next_call(llm: MiniCPM, server: ScriptedServer) -> None:
    llm.chat([user()])
    llm.temperature, llm.model, llm.stop = 0.1, "other", "end"
    llm.api_key = "sk-another"  # type: ignore[assignment]
    llm.default_headers = {"x-team": "blue"}
    llm.chat([user()])
    assert (sent(server)["temperature"], sent(server)["model"], sent(server)["stop"]) == (0.1, "other", ["end"])
    assert server.requests[-1].headers["authorization"] == "Bearer sk-another"
    assert server.requests[-1].headers["x-team"] == "blue"
    assert "temperature" not in sent(server, 0)


def test_a_setting_that_is_changed_in_place_takes_effect(server: ScriptedServer) -> None:
    llm = MiniCPM(base_url=server.base_url, backend="vllm", extra_body={"top_k": 1}, stop=["a"])
    llm.chat([user()])
    assert llm.extra_body is not None
    assert isinstance(llm.stop, list)
    llm.extra_body["top_k"] = 2
    llm.stop.append("b")
    llm.chat([user()])
    assert (sent(server)["top_k"], sent(server)["stop"]) == (2, ["a", "b"])


def test_a_changed_address_takes_effect(llm: MiniCPM) -> None:
    with ScriptedServer() as other:
        llm.chat([user()])
        llm.base_url = other.base_url
        llm.chat([user()])
        assert len(other.requests) == 1


def test_a_copy_with_other_settings_uses_them(llm: MiniCPM, server: ScriptedServer) -> None:
    llm.chat([user()])
    llm.model_copy(update={"temperature": 0.3}).chat([user()])
    llm.chat([user()])
    assert [sent(server, number).get("temperature") for number in range(3)] == [None, 0.3, None]


def test_what_was_learned_of_the_server_outlives_other_changes(server: ScriptedServer) -> None:
    """With backend="auto" the server is asked what it is; not again because the temperature changed."""
    models = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "vllm"}]}
    server.answers = [whole(models), whole(completion())]
    llm = MiniCPM(base_url=server.base_url)
    llm.chat([user()])
    llm.temperature = 0.1
    llm.chat([user()])
    assert [request.method for request in server.requests] == ["GET", "POST", "POST"]


# -- Secrets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [KEY, HEADER])
def test_secrets_are_nowhere_to_be_seen(secret: str) -> None:
    llm = secretive()
    shown = [repr(llm), str(llm), json.dumps(llm.to_dict()), llm.to_json(), llm.json(), repr(llm.dict())]
    shown += [llm.model_dump_json(), repr(llm.metadata), repr(vars(llm)["api_key"])]
    if hasattr(llm, "to_payload"):  # the oldest version that is supported has none
        shown.append(repr(llm.to_payload()))
    shown += [repr(pickle.dumps(llm)), repr(pickle.dumps(copy.deepcopy(llm)))]
    assert [text for text in shown if secret in text] == []


def test_a_key_that_is_set_later_is_a_secret_too() -> None:
    llm = MiniCPM()
    llm.api_key = KEY  # type: ignore[assignment]
    assert KEY not in repr(llm.api_key) + repr(llm) + repr(vars(llm)) + repr(pickle.dumps(llm))


async def test_a_key_that_the_server_echoes_is_removed(llm: MiniCPM, server: ScriptedServer) -> None:
    server.answers = [whole({"error": {"message": f"no such model for {KEY}", "code": 400}}, status=400)]
    for method in ("chat", "astream_complete"):
        with pytest.raises(Exception, match="no such model") as caught:
            await ask(llm, method)
        assert KEY not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


# -- Copies and pickles ------------------------------------------------------------------------------------------------


def test_dictionaries_make_the_object_again() -> None:
    llm = MiniCPM(timeout=Timeouts(read=7), temperature=0.5, stop=["a"], extra_body={"top_k": 3}, context_window=9)
    assert MiniCPM.from_dict(llm.to_dict()).to_dict() == llm.to_dict()
    assert MiniCPM.from_json(llm.to_json()).to_dict() == llm.to_dict()


def test_a_pickle_has_the_settings_and_the_loaders_key(
    monkeypatch: pytest.MonkeyPatch, llm: MiniCPM, server: ScriptedServer
) -> None:
    llm.temperature = 0.5
    llm.chat([user()])
    data = pickle.dumps(llm)
    monkeypatch.setenv("MINICPM_API_KEY", "sk-of-the-loader")
    loaded: MiniCPM = pickle.loads(data)
    loaded.chat([user()])
    assert sent(server)["temperature"] == 0.5
    assert server.requests[-1].headers["authorization"] == "Bearer sk-of-the-loader"


def test_pickling_does_not_complain(caplog: pytest.LogCaptureFixture) -> None:
    """LlamaIndex logs what it cannot pickle; HTTP clients are left out before it sees them."""
    with httpx.Client() as client, caplog.at_level(logging.WARNING):
        llm = MiniCPM(http_client=client)
        assert pickle.loads(pickle.dumps(llm)).http_client is None
    assert caplog.messages == []


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, MiniCPM.model_copy])
def test_a_copy_keeps_key_headers_and_clients(make: Any, server: ScriptedServer) -> None:
    with httpx.Client() as client:
        llm = MiniCPM(
            base_url=server.base_url, backend="vllm", api_key=KEY, default_headers={"x-team": "a"}, http_client=client
        )
        llm.chat([user()])
        copied = make(llm)
        copied.chat([user()])
        assert copied.http_client is client
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert server.requests[-1].headers["x-team"] == "a"


def test_what_llamaindex_gives_every_llm_is_kept() -> None:
    manager = CallbackManager([])
    limiter = TokenBucketRateLimiter(requests_per_minute=60)
    llm = MiniCPM(callback_manager=manager, rate_limiter=limiter, system_prompt="Be brief.")
    assert llm.callback_manager is manager
    assert (llm.rate_limiter, llm.system_prompt) == (limiter, "Be brief.")
