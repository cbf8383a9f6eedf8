"""How a model is made, changed and told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from langchain_core.language_models import ModelProfile
from langchain_core.load import dumpd, load
from pydantic import SecretStr, ValidationError

from langchain_minicpm import ChatMiniCPM, __version__
from langchain_minicpm._settings import ALIASES, CONNECTION, OPTIONS
from langchain_minicpm._signature import Settings
from minicpm_core import CARDS, ConfigurationError, MiniCPMWarning, Timeouts
from minicpm_core.protocol.options import OPTION_NAMES
from tests.langchain.conftest import KEY

if TYPE_CHECKING:
    from tests.support.server import ScriptedServer


def test_other_names_are_taken() -> None:
    made = ChatMiniCPM(model_name="a", request_timeout=3, stop_sequences=["x"])
    assert (made.model, made.model_name, made.timeout, made.stop) == ("a", "a", 3, ["x"])
    with pytest.raises(ConfigurationError, match="given twice"):
        ChatMiniCPM(model="a", model_name="b")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("temprature", "'temperature'"),
        ("max_token", "'max_tokens'"),
        ("modle_name", "'model_name'"),
        ("top_k", "extra_body"),
    ],
)
def test_an_unknown_setting_is_an_error_with_a_suggestion(name: str, hint: str) -> None:
    settings: dict[str, Any] = {name: 1}
    with pytest.raises(ConfigurationError, match=name) as caught:
        ChatMiniCPM(**settings)
    assert hint in str(caught.value)


def test_the_environment_fills_what_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELBEST_API_KEY", "sk-vendor")
    assert ChatMiniCPM().api_key == SecretStr("sk-vendor")
    monkeypatch.setenv("MINICPM_API_KEY", "sk-ours")
    monkeypatch.setenv("MINICPM_MODEL", "m")
    made = ChatMiniCPM(model="given")
    assert (made.api_key, made.model) == (SecretStr("sk-ours"), "given")
    assert ChatMiniCPM().model == "m"


def test_a_missing_key_is_an_error_of_the_call_and_says_where_to_get_one() -> None:
    from langchain_core.exceptions import ModelError

    with pytest.raises(ConfigurationError, match=r"platform\.modelbest\.cn") as caught:
        ChatMiniCPM().invoke("Hello")
    assert isinstance(caught.value, ModelError)
    assert caught.value.is_retryable is False


def test_a_setting_of_the_wrong_type_is_an_error() -> None:
    with pytest.raises(ValidationError):
        ChatMiniCPM(temperature="hot")  # type: ignore[arg-type]  # that is the point


TIMEOUTS = [
    (5, 5, 5),
    (0.5, 0.5, 0.5),
    (httpx.Timeout(1, read=7), Timeouts(1, 7, 1, 1), 7),
    ({"connect": 1, "read": 7, "write": 2, "pool": 3}, Timeouts(1, 7, 2, 3), 7),
]


@pytest.mark.parametrize(("given", "kept", "read"), TIMEOUTS, ids=["int", "float", "httpx", "mapping"])
def test_timeouts_of_every_form(given: Any, kept: Any, read: float) -> None:
    made = ChatMiniCPM(timeout=given, api_key=KEY)
    assert made.timeout == kept
    timeout = made._clients().sync.config.timeout
    assert timeout is not None
    assert timeout.read == read


def test_every_setting_reaches_the_wire(model: ChatMiniCPM, server: ScriptedServer) -> None:
    values: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "stop": ["END"],
        "seed": 1,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "logprobs": True,
        "top_logprobs": 2,
        "n": 1,
    }
    for name, value in values.items():
        setattr(model, name, value)
    model.thinking, model.extra_body = True, {"top_k": 5, "min_p": 0.1}
    model.invoke("Hello")
    body = server.requests[-1].json
    expected = {**values, "top_k": 5, "min_p": 0.1, "chat_template_kwargs": {"enable_thinking": True}}
    assert {name: body.get(name) for name in expected} == expected


def test_a_call_wins_over_the_settings(model: ChatMiniCPM, server: ScriptedServer) -> None:
    model.temperature, model.stop, model.extra_body = 0.5, ["a"], {"top_k": 5, "min_p": 0.1}
    model.invoke(
        "Hello",
        stop=["b"],
        model="another",
        temperature=None,
        max_tokens=3,
        extra_body={"top_k": 6},
        extra_headers={"x-call": "1"},
    )
    request = server.requests[-1]
    wanted = {"model": "another", "stop": ["b"], "max_tokens": 3, "top_k": 6, "min_p": 0.1}
    assert {name: request.json[name] for name in wanted} == wanted
    assert "temperature" not in request.json
    assert request.headers["x-call"] == "1"
    assert model.extra_body == {"top_k": 5, "min_p": 0.1}
    model.invoke("Hello", stop_sequences=["c"], model_name="third")
    assert (server.requests[-1].json["stop"], server.requests[-1].json["model"]) == (["c"], "third")


def test_a_changed_field_takes_effect_at_once(model: ChatMiniCPM, server: ScriptedServer) -> None:
    model.invoke("Hello")
    serialized = model._serialized
    assert model._serialized is serialized, "it is made once"
    model.temperature, model.model = 0.5, "MiniCPM-V-4.6-Thinking"
    model.default_headers = {"x-tenant": "1"}
    model.invoke("Hello")
    request = server.requests[-1]
    assert (request.json["temperature"], request.json["model"]) == (0.5, "MiniCPM-V-4.6-Thinking")
    assert request.headers["x-tenant"] == "1"
    assert model._serialized["kwargs"]["temperature"] == 0.5
    model.default_headers["x-tenant"] = "2"
    model.invoke("Hello")
    assert server.requests[-1].headers["x-tenant"] == "2", "a change within counts too"
    model.extra_body = {"top_k": 1}
    assert model._serialized["kwargs"]["extra_body"] == {"top_k": 1}
    model.extra_body["top_k"] = 2
    assert model._serialized["kwargs"]["extra_body"] == {"top_k": 2}
    assert model.model_copy(update={"temperature": 0.7})._options["temperature"] == 0.7


def test_clients_are_kept_until_a_field_they_depend_on_changes(model: ChatMiniCPM) -> None:
    first = model._clients()
    model.temperature = 1
    assert model._clients() is first
    model.timeout = 3
    assert model._clients() is not first


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_profile_is_the_cards(card: Any) -> None:
    model = ChatMiniCPM(model=(card.hosted_id or card.hugging_face[0]), backend="vllm")
    profile = model.profile
    assert profile is not None
    assert profile.get("name") == card.name
    assert profile.get("max_input_tokens") == card.context_window
    assert profile.get("image_inputs") is True
    assert profile.get("tool_calling") is card.tools
    assert profile.get("reasoning_output") is card.thinks_by_default
    assert profile.get("audio_inputs") is ("audio" in card.modalities)
    assert profile.get("video_inputs") is ("video" in card.modalities)
    assert set(profile) <= set(ModelProfile.__annotations__)


def test_the_profile_follows_the_model_and_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ChatMiniCPM()
    assert model.profile is not None
    assert model.profile.get("reasoning_output") is False
    assert model.profile.get("structured_output") is True
    model.model = "MiniCPM-V-4.6-Thinking"
    assert model.profile.get("reasoning_output") is True
    model.backend = "transformers"
    assert model.profile.get("structured_output") is False, "it takes response_format and ignores it"
    assert "name" not in (ChatMiniCPM(model="unheard-of").profile or {"name": ""})
    deaf = ChatMiniCPM(model="MiniCPM-O-4.5-9B", backend="ollama")
    assert (deaf.profile or {}).get("audio_inputs") is False, "the model hears, the server takes no audio"
    own: ModelProfile = {"max_input_tokens": 5}
    model = ChatMiniCPM(profile=own)
    model.model = "MiniCPM-V-4.6-Thinking"
    assert model.profile == own


def test_what_traces_are_told(model: ChatMiniCPM) -> None:
    model.temperature, model.max_tokens = 0.5, 7
    assert model._get_ls_params(stop=["x"]) == {
        "ls_provider": "minicpm",
        "ls_model_name": "MiniCPM-V-4.6-1B",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 7,
        "ls_stop": ["x"],
    }
    called = model._get_ls_params(model="another", temperature=0.1, max_tokens=1)
    assert (called.get("ls_model_name"), called.get("ls_temperature"), called.get("ls_max_tokens")) == (
        "another",
        0.1,
        1,
    )
    model.stop = "END"
    assert model._get_ls_params().get("ls_stop") == ["END"]
    params = model._get_invocation_params(top_p=0.9)
    assert (params["model"], params["temperature"], params["top_p"], params["stop"]) == (
        "MiniCPM-V-4.6-1B",
        0.5,
        0.9,
        "END",
    )
    assert model._llm_type == "minicpm-chat"
    assert model.metadata is not None
    assert model.metadata["lc_versions"]["langchain-minicpm"] == __version__


def test_the_provider_of_answers_is_that_of_traces(model: ChatMiniCPM) -> None:
    """Middleware ignores reported usage where the two differ."""
    answer = model.invoke("Hello")
    assert answer.response_metadata["model_provider"] == model._get_ls_params().get("ls_provider")


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize("settings", [{}, {"timeout": Timeouts(1, 2, 3, 4), "temperature": 0, "stop": ["x"], "n": 2}])
def test_serialization_goes_round(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICPM_API_KEY", KEY)
    made = ChatMiniCPM(base_url="http://localhost:1/v1", backend="vllm", **settings)
    stored = dumpd(made)
    assert stored["id"] == ["langchain_minicpm", "chat_models", "ChatMiniCPM"]
    again = load(stored, allowed_objects=[ChatMiniCPM], valid_namespaces=["langchain_minicpm"], secrets_from_env=True)
    assert again == made
    assert again.asdict() == made.asdict()


def test_old_ids_of_the_hosted_api_are_resolved_visibly(server: ScriptedServer) -> None:
    """Only there: a server of one's own serves what it was started with."""
    made = ChatMiniCPM(model="MiniCPM-o-4.5", api_key=KEY, base_url=server.base_url, backend="modelbest")
    with pytest.warns(MiniCPMWarning, match="MiniCPM-O-4.5-9B"):
        made.invoke("Hello")
    assert server.requests[-1].json["model"] == "MiniCPM-O-4.5-9B"
    made.backend = "vllm"
    made.invoke("Hello")
    assert server.requests[-1].json["model"] == "MiniCPM-o-4.5"


def test_the_lists_of_names_agree() -> None:
    fields = set(ChatMiniCPM.model_fields)
    assert set(Settings.__annotations__) == fields | set(ALIASES)
    assert set(OPTIONS) <= fields & OPTION_NAMES
    assert set(CONNECTION) <= fields
    assert set(ALIASES.values()) <= fields
