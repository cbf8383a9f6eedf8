"""What can be imported, and what is said, where the optional dependencies are missing."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.house.support import Environment, make_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

_REPLY = json.dumps(
    {
        "id": "reply-1",
        "object": "chat.completion",
        "model": "some-model",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "All is well."}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }
).encode()
_ASK = """
import sys
from minicpm_core import Message, MiniCPMClient
with MiniCPMClient(base_url=sys.argv[1], model="some-model", backend="generic") as client:
    print(client.complete([Message(role="user", content="How are you?")]).choices[0].text)
"""


class _Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(_REPLY)))
        self.end_headers()
        self.wfile.write(_REPLY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class gives
        """Say nothing."""


@pytest.fixture
def base_url() -> Iterator[str]:
    """A server that gives one answer to everything."""
    with HTTPServer(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("package", "extra"),
    [("langchain_minicpm", "langchain"), ("llama_index_minicpm", "llama-index")],
)
def test_an_adapter_without_its_framework_says_which_extra_to_install(
    package: str, extra: str, plain: Environment
) -> None:
    ran = plain.run(f"import {package}")
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert f'pip install "minicpm-integrations[{extra}]"' in last


def test_the_core_imports_without_httpx(bare: Environment) -> None:
    """It is imported at the first call, so importing the core costs nothing for those who only use its data."""
    ran = bare.run("import minicpm_core; [getattr(minicpm_core, name) for name in minicpm_core.__all__]")
    assert ran.returncode == 0, ran.stderr


def test_the_core_works_with_httpx_alone(plain: Environment, base_url: str) -> None:
    ran = plain.run(_ASK, base_url)
    assert (ran.returncode, ran.stdout) == (0, "All is well.\n"), ran.stderr


def test_the_command_without_its_extra_says_which_to_install(plain: Environment) -> None:
    ran = plain.run("import sys; sys.argv = ['minicpm', '--help']; from minicpm_core.cli import main; sys.exit(main())")
    assert ran.returncode != 0
    assert 'pip install "minicpm-integrations[cli]"' in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_pytest_plugin_harms_no_suite_that_does_not_use_it(wheel: Path, tmp_path: Path) -> None:
    """Pytest loads it in every environment that has this distribution, with or without what the emulator needs."""
    environment = make_environment(tmp_path / "venv", wheel)
    environment.lend("pytest")
    suite = tmp_path / "test_of_someone_else.py"
    suite.write_text("def test_nothing():\n    pass\n", encoding="utf-8")
    ran = environment.run("import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))", "-q", "-W", "error", str(suite))
    assert (ran.returncode, "1 passed" in ran.stdout) == (0, True), ran.stdout + ran.stderr
