"""`minicpm emulate`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from minicpm_core import Message, MiniCPMClient
from minicpm_core.realtime import RealtimeClient, SessionTimeLimitError
from tests.cli.support import command
from tests.support.server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.support import Ran


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `minicpm emulate` on a free port."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        words = command("emulate", "--port", "0", "--pace", "0", *arguments)
        given = {**os.environ, **environment}
        running.append(subprocess.Popen(words, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


def exported(process: subprocess.Popen[str], name: str) -> str:
    """The value that an export line gives; the line comes when the server answers."""
    assert process.stdout is not None
    command_, _, assignment = process.stdout.readline().rstrip("\n").partition(" ")
    assert command_ == "export"
    assert assignment.startswith(f"{name}=")
    return assignment.removeprefix(f"{name}=").strip("'")


def test_it_says_where_it_is_and_answers_there_and_ends_on_ctrl_c(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start()
    base_url = exported(process, "MINICPM_BASE_URL")
    assert exported(process, "MINICPM_REALTIME_URL") == base_url.replace("http", "ws", 1) + "/realtime"
    with MiniCPMClient(base_url=base_url) as client:
        assert client.complete([Message("user", "Count to 3.")]).text == "1 2 3"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert "It is not a model" in err
    assert err.endswith("Stopped.\n")
    assert "Traceback" not in err


def test_a_key_to_ask_for_is_exported_too(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("--api-key", "made up", "--dialect", "llamacpp")
    base_url = exported(process, "MINICPM_BASE_URL")
    key = exported(process, "MINICPM_API_KEY")
    assert key == "made up"
    with MiniCPMClient(base_url=base_url, api_key=key) as client:
        assert client.backend().name == "llamacpp"
        assert client.complete([Message("user", "Count to 3.")]).text == "1 2 3"


async def test_it_serves_realtime_sessions_too(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("--generation", "1", "--audio-limit", "5", "--speed", "100", "--realtime-fault", "mute")
    exported(process, "MINICPM_BASE_URL")
    url = exported(process, "MINICPM_REALTIME_URL")
    async with RealtimeClient(base_url=url, generation=1).session() as session:
        with pytest.raises(SessionTimeLimitError):
            async for _ in session:
                pass


def test_without_websockets_it_still_answers_and_says_what_is_missing(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "websockets.py").write_text("raise ImportError('not installed', name='websockets')\n")
    process = start(PYTHONPATH=str(tmp_path))
    base_url = exported(process, "MINICPM_BASE_URL")
    assert httpx.get(f"{base_url}/models").status_code == 200
    told = httpx.get(f"{base_url}/realtime").json()["emulator"]
    assert "minicpm-integrations[emulator,realtime]" in told
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == ""
    assert "minicpm-integrations[emulator,realtime]" in err


def test_without_parsers_thoughts_arrive_in_the_text(start: Callable[..., subprocess.Popen[str]]) -> None:
    base_url = exported(start("--no-parsers", "--dialect", "vllm"), "MINICPM_BASE_URL")
    asked = {"model": "MiniCPM-V-4.6-Thinking", "messages": [{"role": "user", "content": "Count to 3."}]}
    answer = httpx.post(f"{base_url}/chat/completions", json=asked).json()
    assert answer["choices"][0]["message"]["content"].endswith("\n</think>\n\n1 2 3")


def test_a_port_that_is_taken_is_an_error_in_one_line(minicpm: Callable[..., Ran]) -> None:
    with ScriptedServer() as taken:
        ran = minicpm("emulate", "--port", str(taken.port))
    assert (ran.code, ran.out) == (2, "")
    assert f"127.0.0.1:{taken.port}" in ran.err
    assert ran.err.count("\n") == 1


def test_without_its_extra_it_says_which_to_install(
    minicpm: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "minicpm_core.emulator.uvicorn_server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    ran = minicpm("emulate", "--port", "0")
    assert ran.code == 2
    assert "minicpm-integrations[emulator]" in ran.err
