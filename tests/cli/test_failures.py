"""Errors: one line, what to do next, an exit code, and a traceback only when it is asked for."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import typer

from minicpm_core.cli import main
from minicpm_core.cli.failures import reported
from tests.cli.support import Ran, command
from tests.support.server import ScriptedServer, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.emulator import EmulatorServer
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory
    from tests.cli.support import Terminal

KEY = "a-made-up-key-of-the-tests"


def test_a_missing_key_says_where_to_get_one_and_that_none_may_be_needed(minicpm: Callable[..., Ran]) -> None:
    ran = minicpm("ask", "Hello?")
    assert (ran.code, ran.out) == (2, "")
    for part in ("needs an API key", "MINICPM_API_KEY", "https://platform.modelbest.cn", "minicpm emulate"):
        assert part in ran.err


@pytest.mark.parametrize("framework", ["core", "langchain", "llama-index"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("status=401", "Check the key"),
        ("status=500", "answered 500"),
        ("error-after=2", "answered"),
        ("html", "HTML page"),
        ("empty", "empty"),
    ],
)
def test_a_failed_request_is_exit_code_1_and_no_traceback(
    fault: str, said: str, framework: str, minicpm: Callable[..., Ran], served: EmulatorServer
) -> None:
    served.inject(fault, times=10)  # for the retries too
    ran = minicpm("ask", "Count to 5.", "--framework", framework)
    assert ran.code == 1
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) <= 2


def test_debug_shows_the_traceback_and_the_line(minicpm: Callable[..., Ran], served: EmulatorServer) -> None:
    served.inject("status=400")
    ran = minicpm("ask", "Count to 5.", "--debug")
    assert ran.code == 1
    assert ran.err.startswith("Traceback")
    assert "answered 400" in ran.err.splitlines()[-1]


@pytest.mark.parametrize("framework", ["core", "langchain", "llama-index"])
def test_what_came_before_a_cut_is_kept(framework: str, minicpm: Callable[..., Ran], served: EmulatorServer) -> None:
    served.inject("cut-after=4")
    ran = minicpm("ask", "Count to 50.", "--framework", framework)
    assert ran.code == 1
    assert ran.out.startswith("1 2")
    assert ran.out.endswith("\n")
    assert "What had come until then stands above." in ran.err


def test_the_key_is_never_shown(
    minicpm: Callable[..., Ran], minicpm_emulator_factory: EmulatorFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = minicpm_emulator_factory(api_key="another-key-altogether")
    monkeypatch.setenv("MINICPM_API_KEY", KEY)
    ran = minicpm("ask", "Hello?", "--base-url", server.base_url, "--backend", "vllm", "--debug")
    assert ran.code == 1
    assert "Check the key" in ran.err
    assert KEY not in ran.out + ran.err


def test_there_is_no_option_for_the_key_and_help_says_why(minicpm: Callable[..., Ran]) -> None:
    assert minicpm("ask", "Hello?", "--api-key", KEY).code == 2
    ran = minicpm("--help")
    assert ran.code == 0
    assert "MINICPM_API_KEY" in ran.out
    assert "shell's history" in " ".join(ran.out.split())


def test_a_server_that_is_not_there_names_the_options(minicpm: Callable[..., Ran]) -> None:
    with ScriptedServer() as server:
        gone = server.base_url
    ran = minicpm("ask", "Hello?", "--base-url", gone, "--backend", "vllm")
    assert ran.code == 1
    assert "--base-url or MINICPM_BASE_URL" in ran.err


@pytest.mark.parametrize("module", ["langchain_minicpm", "llama_index_minicpm"])
def test_a_framework_that_is_not_installed_is_named_with_the_extra(
    module: str, minicpm: Callable[..., Ran], served: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    framework = {"langchain_minicpm": "langchain", "llama_index_minicpm": "llama-index"}[module]
    ran = minicpm("ask", "Hello?", "--framework", framework)
    assert ran.code == 2
    assert module in ran.err
    assert 'pip install "minicpm-integrations[all]"' in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ask",), "Missing argument 'QUESTION'"),
        (("ask", "x", "--zork"), "No such option: --zork"),
        (("ask", "x", "--backend", "vllmm"), "'vllmm' is not one of"),
        (("askk",), "No such command 'askk'"),
        (("demo", "nothing.jpg"), "nothing.jpg"),
        (("emulate", "--port", "70000"), "65535"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], said: str, minicpm: Callable[..., Ran]) -> None:
    ran = minicpm(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "minicpm" in ran.err


def test_what_nobody_foresaw_asks_for_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit_, reported(debug=False):
        raise RuntimeError("a bug")
    assert exit_.value.exit_code == 1
    said = capsys.readouterr().err
    assert "This should not happen: RuntimeError: a bug" in said
    assert "--debug" in said


def test_notes_of_this_library_are_notes_and_not_python_warnings(
    minicpm: Callable[..., Ran], served: EmulatorServer
) -> None:
    ran = minicpm("ask", "Count to 3.", "--thinking", "--backend", "generic")
    assert ran.code == 0
    assert "Note: It is not known how this server switches thinking" in ran.err
    assert "MiniCPMWarning" not in ran.err


def test_ctrl_c_is_one_line_and_exit_code_130_and_ends_the_request(terminal: Callable[..., Terminal]) -> None:
    models = {"object": "list", "data": [{"id": "MiniCPM-V-4.6-1B", "object": "model", "owned_by": "vllm"}]}
    started = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    event = b'data: {"choices":[{"index":0,"delta":{"content":"One word, and an"}}]}\n\n'
    with ScriptedServer(models=models, answers=[[started + event, Wait()]]) as server:
        shown = terminal("ask", "Hello?", "--base-url", server.base_url)
        shown.read_until("One word, and")
        shown.process.send_signal(signal.SIGINT)
        assert shown.end() == 130
        said, *rest = shown.lines
        assert said.startswith("One word, and")
        assert rest == ["Stopped.", ""]
        assert server.wait_until_closed()


def test_a_reader_that_goes_away_is_no_error(served: EmulatorServer) -> None:
    """As in `minicpm ask … | head -1`."""
    running = subprocess.Popen(
        command("ask", "Count to 100.", "--base-url", served.base_url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout is not None
    running.stdout.close()
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (141, b"")


def test_an_output_that_cannot_write_a_character_gets_an_escape(
    served: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    ran = subprocess.run(
        command("ask", "Say 你好", "--base-url", served.base_url), capture_output=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout == b"\\u4f60\\u597d\n"


def test_main_takes_its_arguments_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["minicpm", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("minicpm-integrations ")
