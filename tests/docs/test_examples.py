"""The example scripts, run as they are."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import wave
from array import array
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT
from tests.emulator import clips

if TYPE_CHECKING:
    from pathlib import Path

    from minicpm_core.emulator import EmulatorServer

AGENTS = {
    "llama_index_agent.py": ("[get_weather {'city': 'Rome'}]", "640 x 427 pixels", "The memory holds 9 messages."),
    "llama_index_react.py": ("[multiply {'a': 600, 'b': 400} = 240000]", "characters of thoughts]"),
    "llama_index_workflow.py": ("[handoff {'to_agent': 'weather'", "weather: The tool get_weather", "degrees=21"),
}
"""Scripts with agents, and some of what each prints."""
VOICES = {
    "langchain_voice_agent.py": ("around 440 hertz", "[write_note] Noted, as number 1.", "1 in the notebook."),
    "llama_index_voice.py": ("assistant: I am the emulator", "around 440 hertz", "1 message, 6 pieces of sound"),
}
"""Scripts that speak, and some of what each prints; they take as long as what is said."""
REALTIME = {"realtime_camera.py", "realtime_wav.py"}
ELSEWHERE = {
    "langchain_agent.py", "langgraph_agent.py", "minilm.py", "langchain_minilm.py", "langchain_bm25.py",
    "ray_captions.py",
}  # fmt: skip
"""Tried in tests/langchain/test_agents.py and in tests/rag, or part of another."""
SEARCHES = {
    "langchain_rag.py": ("[found] charts/solar_output.png: A flat graphic", "[answer] I received 3 pictures."),
    "langgraph_pictures.py": ("[ai] search_pictures({'query': 'a yellow sign'})", "[tool] signs/", "480 x 320 pixels"),
    "recall.py": ("81 pictures and pages, 62 questions.", "measures          30         90%    100%"),
}
"""Scripts that search the corpus, and some of what each prints."""
SCRIPTS = {"langchain_photo.py": "[reasoning]", "llama_index_photo.py": "[thoughts]"}


@pytest.fixture
def question(tmp_path: Path) -> Path:
    """A second of a tone, at a rate that nothing else has."""
    path = tmp_path / "question.wav"
    rate = 22_050
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, rate, 0, "NONE", ""))
        wav.writeframes(
            array("h", (round(9000 * math.sin(at * math.tau * 440 / rate)) for at in range(rate))).tobytes()
        )
    return path


def run(script: str, server: EmulatorServer, *arguments: str, warnings: str = "error") -> str:
    """What a script prints."""
    ran = subprocess.run(
        [sys.executable, "-W", warnings, str(ROOT / "examples" / script), *arguments],
        env={
            **os.environ,
            "MINICPM_BASE_URL": server.base_url,
            "MINICPM_REALTIME_URL": server.realtime_url,
            "MINICPM_REALTIME_SPEED": "4",
        },
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


@pytest.mark.slow
@pytest.mark.parametrize("script", VOICES)
def test_an_example_listens_and_speaks(
    script: str, minicpm_emulator: EmulatorServer, question: Path, tmp_path: Path
) -> None:
    answer = [str(tmp_path / "answer.wav")] if script.startswith("llama") else []
    shown = run(script, minicpm_emulator, str(question), *answer, warnings="default")
    for line in VOICES[script]:
        assert line in shown


@pytest.mark.slow
def test_a_question_from_a_file_is_answered_into_another(
    minicpm_emulator: EmulatorServer, question: Path, tmp_path: Path
) -> None:
    shown = run("realtime_wav.py", minicpm_emulator, str(question), str(tmp_path / "answer.wav"))
    assert "I am the emulator, not a model. I heard 1 second of sound, loud, around 440 hertz." in shown
    assert "[answered after " in shown
    with wave.open(str(tmp_path / "answer.wav"), "rb") as wav:
        assert wav.getframerate() == 24_000
        assert wav.getnframes() > 3 * 24_000
    assert minicpm_emulator.sessions[-1].init["system_prompt"] == "Be brief."
    assert minicpm_emulator.sessions[-1].ended == "user_stop"


@pytest.mark.slow
def test_a_picture_goes_with_each_second(minicpm_emulator: EmulatorServer, question: Path) -> None:
    picture = ROOT / "examples" / "photos" / "rocket.jpg"
    shown = run("realtime_camera.py", minicpm_emulator, str(question), str(picture))
    assert "I see 547 by 365 pixels" in shown
    assert [len(unit.frames) for unit in minicpm_emulator.sessions[-1].units][:2] == [1, 0]


@pytest.mark.slow
def test_a_film_is_shown_by_the_second(minicpm_emulator: EmulatorServer, question: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(clips.traffic_light())
    assert "mostly red" in run("realtime_camera.py", minicpm_emulator, str(question), str(film))


@pytest.mark.parametrize("script", SEARCHES)
def test_an_example_finds_pictures_of_the_corpus(script: str, minicpm_emulator: EmulatorServer) -> None:
    shown = run(script, minicpm_emulator)
    for line in SEARCHES[script]:
        assert line in shown


def test_every_example_is_tried() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {
        *SCRIPTS,
        *AGENTS,
        *VOICES,
        *ELSEWHERE,
        *REALTIME,
        *SEARCHES,
    }
