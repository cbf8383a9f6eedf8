"""`minicpm models`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

import pytest
from rich.cells import cell_len

from minicpm_core.backends import BACKENDS
from minicpm_core.cli import app
from minicpm_core.cli.connection import best_of
from minicpm_core.emulator import DIALECTS
from minicpm_core.types import ModelInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.emulator.pytest_plugin import EmulatorFactory
    from tests.cli.support import Ran, Terminal

OFFERED = ["llama3:8b", "openbmb/MiniCPM-V-4.6-Thinking"]


@pytest.mark.parametrize("dialect", ["vllm", "llamacpp", "transformers", "ollama"])
def test_a_pipe_gets_the_ids_alone(
    dialect: str, minicpm: Callable[..., Ran], minicpm_emulator_factory: EmulatorFactory
) -> None:
    server = minicpm_emulator_factory(dialect=dialect, models=OFFERED)
    ran = minicpm("models", "--base-url", server.base_url)
    assert (ran.code, ran.out) == (0, "".join(f"{model}\n" for model in OFFERED))
    assert f"was taken for {BACKENDS[dialect].title} (backend {dialect}) by its answer" in ran.err  # type: ignore[index]


def test_a_backend_that_was_set_is_not_found_out(
    minicpm: Callable[..., Ran], minicpm_emulator_factory: EmulatorFactory
) -> None:
    server = minicpm_emulator_factory(dialect="vllm", models=OFFERED)
    ran = minicpm("models", "--base-url", server.base_url, "--backend", "sglang")
    assert "is used as backend sglang, as it was set" in ran.err
    assert len(server.requests) == 1


def test_json_has_the_context_and_the_name(
    minicpm: Callable[..., Ran], minicpm_emulator_factory: EmulatorFactory
) -> None:
    server = minicpm_emulator_factory(dialect="vllm", models=OFFERED, context=4096)
    ran = minicpm("models", "--base-url", server.base_url, "--json")
    assert json.loads(ran.out) == {
        "base_url": server.base_url,
        "backend": "vllm",
        "models": [
            {"id": "llama3:8b", "model": None, "context_window": 4096},
            {
                "id": "openbmb/MiniCPM-V-4.6-Thinking",
                "model": "MiniCPM-V 4.6 Thinking",
                "context_window": 4096,
            },
        ],
    }


@pytest.mark.parametrize("columns", [40, 100])
def test_a_terminal_gets_a_table_that_fits(
    columns: int, terminal: Callable[..., Terminal], minicpm_emulator_factory: EmulatorFactory
) -> None:
    server = minicpm_emulator_factory(dialect="vllm", models=OFFERED)
    shown = terminal("models", "--base-url", server.base_url, columns=columns)
    assert shown.end() == 0
    assert all(cell_len(line) <= columns for line in shown.lines), shown.lines
    joined = "\n".join(shown.lines)
    assert "thinks" in joined
    assert "llama3:8b" in joined


def row(model: str) -> ModelInfo:
    return ModelInfo(model)


@pytest.mark.parametrize(
    ("offered", "thinking", "chosen"),
    [
        ([], False, None),
        (["one-of-its-own"], False, "one-of-its-own"),
        (["llama3", "qwen3"], False, None),
        (["llama3", "minicpm-v4.6"], True, "minicpm-v4.6"),
        (["openbmb/MiniCPM-V-4.6-Thinking", "openbmb/MiniCPM-V-4.6"], False, "openbmb/MiniCPM-V-4.6"),
        (["openbmb/MiniCPM-V-4.6", "openbmb/MiniCPM-V-4.6-Thinking"], True, "openbmb/MiniCPM-V-4.6-Thinking"),
    ],
)
def test_the_model_that_stands_out_is_chosen(offered: list[str], thinking: bool, chosen: str | None) -> None:
    assert best_of([row(model) for model in offered], thinking=thinking) == chosen


def test_the_options_take_every_backend_and_every_dialect() -> None:
    assert set(get_args(app.Backend)) == {"auto", *BACKENDS}
    assert set(get_args(app.Dialect)) == set(DIALECTS)
