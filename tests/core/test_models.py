"""Model cards: found under every name that a server may use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.models import CARDS, DEFAULT_MODEL, UNKNOWN, card_for, hosted_id

_INSTRUCT, _THINKING, _O45, _V45, _V47 = CARDS


@pytest.mark.parametrize(
    ("model", "card"),
    [
        ("MiniCPM-V-4.6-1B", _INSTRUCT),
        ("MiniCPM-V-4.6-Instruct", _INSTRUCT),
        ("minicpm-v-4.6-1b", _INSTRUCT),
        ("MiniCPM-V 4.6 Instruct", _INSTRUCT),
        ("openbmb/MiniCPM-V-4.6", _INSTRUCT),
        ("openbmb/MiniCPM-V-4_6", _INSTRUCT),
        ("OpenBMB/MINICPM-V-4_6-AWQ", _INSTRUCT),
        ("openbmb/MiniCPM-V-4.6-gguf", _INSTRUCT),
        ("hf.co/openbmb/MiniCPM-V-4.6-gguf:Q4_K_M", _INSTRUCT),
        ("/models/MiniCPM-V-4_6/", _INSTRUCT),
        ("MiniCPM-V-4.6-Q4_K_M.gguf", _INSTRUCT),
        ("MiniCPM-V-4.6.gguf", _INSTRUCT),
        ("minicpm-v4.6", _INSTRUCT),
        ("minicpm-v4.6:latest", _INSTRUCT),
        ("openbmb/minicpm-v4.6:q8_0", _INSTRUCT),
        ("MiniCPM-V-4.6-Instruct@main", _INSTRUCT),
        ("MiniCPM-V-4.6-Thinking", _THINKING),
        ("openbmb/MiniCPM-V-4_6-Thinking", _THINKING),
        ("openbmb/MiniCPM-V-4.6-Thinking-GPTQ", _THINKING),
        ("openbmb/minicpm-v4.6-thinking:latest", _THINKING),
        ("MiniCPM-V-4.6-Thinking@main", _THINKING),
        ("MiniCPM-O-4.5-9B", _O45),
        ("MiniCPM-o-4.5", _O45),
        ("openbmb/MiniCPM-o-4_5", _O45),
        ("openbmb/MiniCPM-o-4_5-gguf", _O45),
        ("openbmb/minicpm-o4.5", _O45),
        ("MiniCPM-V-4.5-9B", _V45),
        ("openbmb/MiniCPM-V-4_5-int4", _V45),
        ("openbmb/minicpm-v4.5", _V45),
        ("openbmb/MiniCPM-V-4.7", _V47),
        ("MiniCPM-V-4.7-35B-A3B", _V47),
    ],
)
def test_a_model_is_known_by_every_name(model: str, card: object) -> None:
    assert card_for(model) is card


@pytest.mark.parametrize("model", ["my-model", "MiniCPM-V-2_6", "MiniCPM-V-4.60", "minicpm-v", "gpt-4o", "", "/", ":"])
def test_an_unknown_model_gets_a_cautious_card(model: str) -> None:
    card = card_for(model)
    assert card is UNKNOWN
    assert not card.known
    assert not card.thinking_default
    assert card.context_window is None
    assert card.modalities == {"text", "image"}


@pytest.mark.parametrize("model", ["my-thinking-model", "MiniCPM-V-4.5-Thinking", "MiniCPM-V-4.7-Thinking"])
def test_an_unknown_model_that_is_called_thinking_thinks(model: str) -> None:
    card = card_for(model)
    assert not card.known
    assert card.thinking_default
    assert card.thinks_by_default


@given(model=st.text(max_size=60))
def test_any_name_has_a_card(model: str) -> None:
    assert card_for(model).name


@pytest.mark.parametrize(
    ("model", "today"),
    [
        ("MiniCPM-V-4.6-Instruct", "MiniCPM-V-4.6-1B"),
        ("minicpm-v-4.6-instruct", "MiniCPM-V-4.6-1B"),
        ("MiniCPM-o-4.5", "MiniCPM-O-4.5-9B"),
        ("MiniCPM-V-4.6-1B", "MiniCPM-V-4.6-1B"),
        ("MiniCPM-V-4.6-Thinking", "MiniCPM-V-4.6-Thinking"),
        ("MiniCPM-V-9", "MiniCPM-V-9"),
    ],
)
def test_older_hosted_ids_have_a_new_name(model: str, today: str) -> None:
    assert hosted_id(model) == today


def test_no_two_cards_share_a_name() -> None:
    names = [name for card in CARDS for name in (*card.hugging_face, *card.ollama, *card.hosted_aliases)]
    assert len(names) == len(set(names))


def test_every_card_is_found_by_all_its_own_names() -> None:
    for card in CARDS:
        own = (card.hosted_id, *card.hosted_aliases, *card.hugging_face, *card.ollama, card.name)
        assert {card_for(name) for name in own if name} == {card}


def test_the_default_model_is_hosted_and_does_not_think() -> None:
    card = card_for(DEFAULT_MODEL)
    assert card.hosted_id == DEFAULT_MODEL
    assert not card.thinking_default


def test_who_thinks_where_nothing_is_asked() -> None:
    """The library asks explicitly: only the Thinking checkpoint is asked to think by itself."""
    assert [card.thinking_default for card in CARDS] == [False, True, False, False, False]
    assert [card.thinks_by_default for card in CARDS] == [False, True, True, True, False]
