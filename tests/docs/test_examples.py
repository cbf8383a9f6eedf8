"""The example scripts, run as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from minicpm_core.emulator import EmulatorServer

AGENTS = {
    "llama_index_agent.py": ("[get_weather {'city': 'Rome'}]", "640 x 427 pixels", "The memory holds 9 messages."),
    "llama_index_react.py": ("[multiply {'a': 600, 'b': 400} = 240000]", "characters of thoughts]"),
    "llama_index_workflow.py": ("[handoff {'to_agent': 'weather'", "weather: The tool get_weather", "degrees=21"),
}
"""Scripts with agents, and some of what each prints."""
ELSEWHERE = {"langchain_agent.py", "langgraph_agent.py", "ray_captions.py"}
"""Tried in tests/langchain/test_agents.py, and in tests/rag/test_ray.py."""
SCRIPTS = {"langchain_photo.py": "[reasoning]", "llama_index_photo.py": "[thoughts]"}


def run(script: str, server: EmulatorServer, *arguments: str, warnings: str = "error") -> str:
    """What a script prints."""
    ran = subprocess.run(
        [sys.executable, "-W", warnings, str(ROOT / "examples" / script), *arguments],
        env={**os.environ, "MINICPM_BASE_URL": server.base_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_describes_its_photograph(script: str, minicpm_emulator: EmulatorServer) -> None:
    shown = run(script, minicpm_emulator)
    thoughts, answer = shown.removeprefix(f"\n{SCRIPTS[script]}\n").split("\n[")
    assert thoughts.startswith("I received 1 message.")
    assert "600 x 400 pixels" in answer
    assert answer.rstrip().endswith(" tokens")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_takes_ones_own_picture_and_question(script: str, minicpm_emulator: EmulatorServer) -> None:
    picture = ROOT / "examples" / "photos" / "rocket.jpg"
    assert "640 x 427 pixels" in run(script, minicpm_emulator, str(picture), "How large is it?")
    text = minicpm_emulator.requests[-1].body["messages"][0]["content"][0]
    assert text == {"type": "text", "text": "How large is it?"}


@pytest.mark.slow
@pytest.mark.parametrize("script", AGENTS)
def test_an_agent_calls_its_tools(script: str, minicpm_emulator: EmulatorServer) -> None:
    shown = run(script, minicpm_emulator, warnings="default")  # LlamaIndex's agents use what Pydantic deprecates
    for line in AGENTS[script]:
        assert line in shown


def test_every_example_is_tried() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {*SCRIPTS, *AGENTS, *ELSEWHERE}
