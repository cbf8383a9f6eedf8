"""`minicpm demo`, which is what `make demo` runs."""

from __future__ import annotations

import base64
import json
import re
import signal
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from minicpm_core.cli import demo as demo_module
from tests.cli.support import ESCAPE, PHOTOS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from minicpm_core.emulator import EmulatorServer
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory
    from tests.cli.support import Ran, Terminal

NOT_A_MODEL = "The emulator answers. It is not a model"
ANSWER = "What looks like a photo, landscape, 451 x 300"


def section(shown: str, title: str) -> str:
    """The part of the screen under a heading."""
    _, *rest = re.split(r"^([A-Z][A-Za-z ]+) ─+$", shown, flags=re.MULTILINE)
    return dict(zip(rest[::2], rest[1::2], strict=True))[title]


def test_without_a_key_the_emulator_answers_through_both_frameworks(minicpm: Callable[..., Ran]) -> None:
    ran = minicpm("demo")
    assert (ran.code, ran.err) == (0, "")
    assert NOT_A_MODEL in ran.out
    assert "cat.jpg, 451 x 300 pixels" in ran.out
    for framework, code in (("LangChain", "prompt | ChatMiniCPM("), ("LlamaIndex", "MiniCPM(**settings).stream_chat(")):
        shown = section(ran.out, framework)
        assert code in shown
        thoughts, _, answer = shown.partition("\nthoughts\n")[2].partition("\n\nanswer\n")
        assert all(line.startswith("│ ") for line in thoughts.splitlines())
        assert thoughts.startswith("│ I received 1 message.")
        assert answer.startswith(ANSWER)
    counts = section(ran.out, "Counts")
    assert re.search(r"LangChain +\d+ +\d+ +\d+\.\d\d s", counts)
    assert "minicpm ask photo.jpg" in section(ran.out, "Next")


def test_the_wire_shows_what_was_sent_with_the_picture_cut(minicpm: Callable[..., Ran]) -> None:
    wire = section(minicpm("demo").out, "On the wire")
    assert "Both sent this: POST http://127.0.0.1:" in wire
    body = json.loads(wire[wire.index("{") :])
    assert body["model"] == "MiniCPM-V-4.6-Thinking"
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    _, picture = body["messages"][0]["content"]
    assert re.fullmatch(r"data:image/jpeg;base64,/9j/.{4}… \([\d,]+ characters\)", picture["image_url"]["url"])


def test_a_pipe_gets_plain_text(minicpm: Callable[..., Ran]) -> None:
    out = minicpm("demo").out
    assert ESCAPE not in out
    assert [line for line in out.split("\n") if line != line.rstrip()] == []


def test_a_server_that_is_set_answers_instead(minicpm: Callable[..., Ran], served: EmulatorServer) -> None:
    ran = minicpm("demo", str(PHOTOS / "coffee.jpg"))
    assert ran.code == 0, ran.err
    assert NOT_A_MODEL not in ran.out
    assert f"MiniCPM-V-4.6-Thinking answers, at {served.base_url}." in ran.out
    questions = [request.body for request in served.requests if request.method == "POST"]
    assert len(questions) == 2
    url = questions[0]["messages"][0]["content"][1]["image_url"]["url"]
    assert base64.b64decode(url.partition(",")[2]) == (PHOTOS / "coffee.jpg").read_bytes()
    assert questions[0] == questions[1]


def test_a_key_in_the_environment_is_sent_and_not_shown(
    minicpm: Callable[..., Ran], minicpm_emulator_factory: EmulatorFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = minicpm_emulator_factory(api_key="a-made-up-key")
    monkeypatch.setenv("MINICPM_API_KEY", "a-made-up-key")
    ran = minicpm("demo", "--base-url", server.base_url)
    assert ran.code == 0, ran.err
    assert "a-made-up-key" not in ran.out + ran.err


def test_the_emulator_can_be_asked_for_although_a_server_is_set(
    minicpm: Callable[..., Ran], served: EmulatorServer
) -> None:
    ran = minicpm("demo", "--emulator")
    assert ran.code == 0, ran.err
    assert NOT_A_MODEL in ran.out
    assert served.requests == []


def test_a_server_that_fails_is_one_line_and_exit_code_1(minicpm: Callable[..., Ran], served: EmulatorServer) -> None:
    served.inject("status=400", times=2)
    ran = minicpm("demo")
    assert ran.code == 1
    assert len(ran.err.splitlines()) == 1
    assert "Traceback" not in ran.err


def test_a_file_that_is_no_picture_is_refused_before_anything_is_shown(
    minicpm: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / "notes.jpg").write_text("No picture.", encoding="utf-8")
    ran = minicpm("demo", str(tmp_path / "notes.jpg"))
    assert (ran.code, ran.out.strip()) == (2, "")
    assert "it looks like plain text" in ran.err


def test_without_the_example_photographs_it_asks_for_one(
    minicpm: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_module, "_HOMES", (tmp_path,))
    ran = minicpm("demo")
    assert ran.code == 2
    assert "minicpm demo photo.jpg" in ran.err


@pytest.mark.slow
@pytest.mark.parametrize("columns", [44, 120])
def test_a_terminal_of_any_width_gets_lines_that_fit(columns: int, terminal: Callable[..., Terminal]) -> None:
    shown = terminal("demo", columns=columns)
    assert shown.end() == 0
    to_copy = re.compile(r"export |\S*minicpm ask ")  # commands are left in one piece
    assert [line for line in shown.lines if cell_len(line) > columns and not to_copy.match(line)] == []
    assert "▀" in shown.raw, "the photograph, in small"
    assert "\x1b[2;3m" in shown.raw, "thoughts, dim and italic"


@pytest.mark.slow
def test_no_color_is_obeyed(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("demo", NO_COLOR="1")
    assert shown.end() == 0
    assert re.search(r"\x1b\[[0-9;]*[349][0-7]", shown.raw) is None
    assert "▀" not in shown.raw


@pytest.mark.slow
def test_a_dumb_terminal_gets_no_escape_codes(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("demo", TERM="dumb")
    assert shown.end() == 0
    assert ESCAPE not in shown.raw


@pytest.mark.slow
def test_ctrl_c_is_one_line_and_exit_code_130(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("demo")
    shown.read_until("What looks like")
    shown.process.send_signal(signal.SIGINT)
    assert shown.end() == 130
    assert shown.lines[-2:] == ["Stopped.", ""]
    assert "Traceback" not in shown.raw
