"""The server starts, keeps a log, paces its streams and ends without a trace."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from minicpm_core.emulator import DIALECTS, EmulatorServer, EmulatorSettings, RecordedRequest
from minicpm_core.emulator.app import create_app
from minicpm_core.emulator.state import EmulatorState
from minicpm_core.errors import ConfigurationError
from tests.emulator.support import INSTRUCT, Asker, plain, shown

if TYPE_CHECKING:
    from tests.emulator.conftest import AskerFactory


def test_a_server_leaves_no_thread_and_no_port_behind() -> None:
    before = threading.enumerate()
    server = EmulatorServer()
    with server, Asker(server) as asker:
        assert asker.text("Count to 2.") == "1 2"
        assert asker.text([shown("?", plain("red"))])  # pictures are decoded in a thread of their own
        port = server.port
    assert threading.enumerate() == before
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


def test_a_server_can_be_started_again_on_its_port() -> None:
    server = EmulatorServer()
    with server:
        port = server.port
    with server, Asker(server) as asker:
        assert server.port == port
        assert asker.text("Count to 2.") == "1 2"
        with pytest.raises(ConfigurationError, match="runs already"):
            server.start()
    server.stop()


def test_a_taken_port_is_said_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port: int = taken.getsockname()[1]
        server = EmulatorServer(port=port)
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}"):
            server.start()
        server.stop()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dialect": "gpt"}, "modelbest, vllm, llamacpp, transformers, ollama"),
        ({"pace": -1}, "pace"),
        ({"pace": float("nan")}, "pace"),
        ({"context": 0}, "context"),
        ({"models": []}, "models"),
        ({"models": "one"}, "models"),
        ({"fault": "explode"}, "explode"),
        ({"port": 99_999_999}, "cannot listen"),
        ({"host": "256.0.0.1"}, "cannot listen"),
    ],
)
def test_a_setting_that_cannot_be_is_said_at_once(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        EmulatorServer(**settings).start()


def test_requests_are_logged_without_the_values_of_their_headers() -> None:
    with EmulatorServer(api_key="sk-secret") as server, Asker(server, authorization="Bearer sk-secret") as asker:
        asker.ask("Count to 2.", temperature=0)
        asker.http.get("/models")
        chat, models = server.requests
        assert (chat.method, chat.path) == ("POST", "/v1/chat/completions")
        assert chat.body["temperature"] == 0
        assert "authorization" in chat.header_names
        assert (models.method, models.body) == ("GET", None)
        shown_to_people = repr(server.requests) + repr(server.settings) + repr(server)
        assert "sk-secret" not in shown_to_people
        server.reset()
        assert server.requests == []


def test_a_whole_answer_tells_its_length(asker_of: AskerFactory) -> None:
    response = asker_of().post("Count to 9.")
    assert int(response.headers["content-length"]) == len(response.content)


def test_refused_and_broken_requests_are_logged_too() -> None:
    with EmulatorServer(api_key="sk-secret") as server, Asker(server) as asker:
        asker.post("x")
        asker.http.post("/chat/completions", content=b"{")
        asker.http.get("/nowhere")
        assert [request.path for request in server.requests] == [
            "/v1/chat/completions",
            "/v1/chat/completions",
            "/v1/nowhere",
        ]
        assert server.requests[1].body is None


def test_the_log_forgets_the_oldest_when_it_grows_too_large() -> None:
    server = EmulatorServer()
    object.__setattr__(server.settings, "log_bytes", 3000)
    with server, Asker(server) as asker:
        for number in range(5):
            asker.post("x" * 1000, user=str(number))
        assert [request.body["user"] for request in server.requests] == ["3", "4"]


def test_a_stream_keeps_its_pace(asker_of: AskerFactory) -> None:
    asker = asker_of(pace=100)
    started = time.monotonic()
    assert asker.stream("Count to 10.").joined("content") == "1 2 3 4 5 6 7 8 9 10"
    assert time.monotonic() - started >= 0.1  # a lower bound: no machine is too slow for it


def test_a_stream_arrives_while_it_is_made() -> None:
    with EmulatorServer(pace=5) as server, httpx.Client(base_url=server.base_url, verify=False) as client:
        body = {"messages": [{"role": "user", "content": "Count to 1000."}], "stream": True}
        with client.stream("POST", "/chat/completions", json=body) as response:
            lines = response.iter_lines()
            assert next(lines).startswith("data: {")


@pytest.mark.parametrize("fault", ["", "stall-after=1", "slow=60"])
def test_stopping_does_not_wait_for_clients(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    received, ends = threading.Event(), list[str]()
    record = EmulatorState.record

    def record_and_tell(state: EmulatorState, request: RecordedRequest) -> None:
        record(state, request)
        received.set()

    monkeypatch.setattr(EmulatorState, "record", record_and_tell)
    # At this pace the stream takes minutes, so that a stop that waited for it would be seen.
    server = EmulatorServer(pace=1, fault=fault or None).start()
    body = {"messages": [{"role": "user", "content": "Count to 1000."}], "stream": True}

    def read() -> None:
        with httpx.Client(base_url=server.base_url, verify=False, timeout=60) as client:
            try:
                with client.stream("POST", "/chat/completions", json=body) as response:
                    response.read()
            except httpx.HTTPError as error:
                ends.append(type(error).__name__)

    reader = threading.Thread(target=read)
    reader.start()
    assert received.wait(30)
    server.stop()
    reader.join(30)
    assert ends == ["RemoteProtocolError"]


def test_a_client_that_leaves_is_let_go(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), EmulatorServer() as server:
        body = {"messages": [{"role": "user", "content": "Count to 9000."}], "stream": True}
        for _ in range(5):
            with (
                httpx.Client(base_url=server.base_url, verify=False) as client,
                client.stream("POST", "/chat/completions", json=body) as response,
            ):
                next(response.iter_lines())
        with Asker(server) as asker:
            assert asker.text("Count to 2.") == "1 2"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_many_requests_at_once_are_answered_each_for_itself() -> None:
    async def ask_all(base_url: str) -> list[str]:
        async with httpx.AsyncClient(base_url=base_url, verify=False, timeout=60) as client:

            async def ask(number: int) -> str:
                body = {"messages": [shown(f"x{number}", plain("red", (number, 10)))]}
                answer = await client.post("/chat/completions", json=body)
                text: str = answer.json()["choices"][0]["message"]["content"]
                return text

            return await asyncio.gather(*(ask(number) for number in range(1, 41)))

    with EmulatorServer() as server:
        answers = asyncio.run(ask_all(server.base_url))
    assert [f" {number} x 10 pixels" in answer for number, answer in enumerate(answers, 1)] == [True] * 40


def test_a_bug_of_the_emulator_is_not_taken_for_an_imitation(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("minicpm_core.emulator.app.answer", broken)
    with EmulatorServer() as server, Asker(server) as asker:
        response = asker.post("x")
        assert response.status_code == 500
        assert response.json() == {
            "emulator": "The emulator itself failed: ZeroDivisionError. This is a bug of minicpm-integrations."
        }


async def test_the_app_runs_on_any_asgi_server() -> None:
    app = create_app(EmulatorSettings.create(dialect="vllm"))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator/v1") as client:
        body = {"messages": [{"role": "user", "content": "Count to 3."}], "stream": True}
        answer = await client.post("/chat/completions", json=body)
        assert answer.text.endswith("data: [DONE]\n\n")


def test_ipv6_addresses_stand_in_brackets() -> None:
    try:
        server = EmulatorServer(host="::1").start()
    except ConfigurationError:
        pytest.skip("no IPv6 on this machine")
    with ExitStack() as afterwards, Asker(server) as asker:
        afterwards.callback(server.stop)
        assert server.base_url == f"http://[::1]:{server.port}/v1"
        assert asker.text("Count to 2.") == "1 2"


FOREGROUND = """
import sys
from minicpm_core.emulator import run
run(port=0, dialect="llamacpp", pace=1, on_ready=lambda url: print(url, flush=True))
print("ended", flush=True)
"""


def test_in_the_foreground_ctrl_c_ends_it_quietly_even_in_a_stream() -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", FOREGROUND], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    base_url = process.stdout.readline().strip()
    body = {"messages": [{"role": "user", "content": "Count to 1000."}], "stream": True}
    with (
        httpx.Client(base_url=base_url, verify=False) as client,
        client.stream("POST", "/chat/completions", json=body) as response,
    ):
        next(response.iter_lines())
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "ended\n", "")


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.startswith("minicpm_core.emulator.uvicorn_server"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'minicpm-integrations\[emulator\]'"):
        EmulatorServer().start()


def test_the_table_of_dialects_is_complete() -> None:
    assert list(DIALECTS) == ["modelbest", "vllm", "llamacpp", "transformers", "ollama"]
    assert all(row.name == name and INSTRUCT in row.models for name, row in DIALECTS.items())


def test_a_large_picture_and_a_large_answer_pass(asker_of: AskerFactory) -> None:
    asker = asker_of()
    noise = base64.b64encode(json.dumps(list(range(900_000))).encode()).decode()
    text = asker.text([shown("?", plain("red", (2000, 1500)))], user=noise)
    assert "2000 x 1500" in text
    assert len(asker.text("Count to 9999.")) > 40_000
