"""Whoever has the package installed has the fixtures, and pays nothing for them until a test asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from minicpm_core.emulator import EmulatorServer
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory
    from tests.emulator.support import Asker

USERS_TESTS = """
import json, sys, urllib.request

def ask(base_url, text):
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    request = urllib.request.Request(base_url + "/chat/completions", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)["choices"][0]["message"]["content"]

def test_nothing_heavy_was_imported_for_the_plugin():
    assert not {"starlette", "uvicorn", "PIL", "httpx"} & set(sys.modules)

def test_one(minicpm_emulator):
    assert ask(minicpm_emulator.base_url, "What is 2 + 2?") == "2 + 2 = 4"
    assert len(minicpm_emulator.requests) == 1

def test_two(minicpm_emulator):
    assert minicpm_emulator.requests == []

def test_three(minicpm_emulator_factory):
    server = minicpm_emulator_factory(dialect="ollama")
    assert ask(server.base_url, "Count to 2.") == "1 2"
"""


def test_the_plugin_is_announced_to_pytest() -> None:
    (found,) = entry_points(group="pytest11", name="minicpm_emulator")
    assert found.value == "minicpm_core.emulator.pytest_plugin"


def test_a_user_s_tests_find_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(USERS_TESTS, encoding="utf-8")
    # Without the other plugins of this environment, which import much and warn; ours is found by its announced name.
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "minicpm_emulator", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "4 passed" in run.stdout


def test_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, json, pytest; before = set(sys.modules); import minicpm_core.emulator.pytest_plugin;"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"starlette", "uvicorn", "PIL", "httpx", "anyio"} & set(json.loads(run.stdout))


def test_the_log_of_a_test_holds_its_own_requests(minicpm_emulator: EmulatorServer, asker: Asker) -> None:
    assert minicpm_emulator.requests == []
    asker.ask("Count to 2.")
    assert len(minicpm_emulator.requests) == 1


def test_emulators_of_one_s_own_run_side_by_side(minicpm_emulator_factory: EmulatorFactory) -> None:
    servers = [minicpm_emulator_factory(dialect=name) for name in ("vllm", "vllm", "llamacpp")]
    assert len({server.base_url for server in servers}) == 3
