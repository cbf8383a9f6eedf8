"""Faults happen when they are asked for, and only then."""

from __future__ import annotations

import email.utils
import gzip
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from minicpm_core.emulator import FAULTS
from minicpm_core.emulator.faults import parse_fault
from minicpm_core.errors import ConfigurationError
from tests.emulator.support import DIALECT_NAMES, INSTRUCT, parsed

if TYPE_CHECKING:
    from minicpm_core.emulator import EmulatorServer
    from tests.emulator.conftest import AskerFactory
    from tests.emulator.support import Asker

TEXT = "Count to 30."


def faulty(asker: Asker, fault: str, *, stream: bool = False) -> httpx.Response:
    """A request that asks for a fault."""
    body = {"model": INSTRUCT, "messages": [{"role": "user", "content": TEXT}], "stream": stream}
    return asker.http.post("/chat/completions", json=body, headers={"X-Emulator-Fault": fault})


def received(asker: Asker, fault: str, *, stream: bool = True) -> tuple[bytes, Exception | None]:
    """What arrives of an answer before it breaks, and how it breaks."""
    body = {"model": INSTRUCT, "messages": [{"role": "user", "content": TEXT}], "stream": stream}
    held = bytearray()
    headers = {"X-Emulator-Fault": fault}
    with asker.http.stream("POST", "/chat/completions", json=body, headers=headers, timeout=0.5) as response:
        try:
            for part in response.iter_bytes():
                held += part
        except httpx.HTTPError as error:
            return bytes(held), error
    return bytes(held), None


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_status_comes_in_the_dialect_s_error_body(asker_of: AskerFactory, dialect: str, *, stream: bool) -> None:
    response = faulty(asker_of(dialect=dialect), "status=429; retry-after=2.5", stream=stream)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "2.5"
    body = response.json()
    said = body["detail"] if "detail" in body else body["error"]["message"]
    assert said == "Injected by status=429."
    assert body.get("error", {}).get("code") in {429, None}


def test_retry_after_can_be_a_date(asker: Asker) -> None:
    before = time.time()
    date = faulty(asker, "status=503; retry-after-date=3600").headers["retry-after"]
    assert before + 3599 <= email.utils.parsedate_to_datetime(date).timestamp() <= time.time() + 3600


def test_a_stream_is_cut_after_some_events(asker: Asker) -> None:
    held, error = received(asker, "cut-after=3")
    assert isinstance(error, httpx.RemoteProtocolError)
    assert len(parsed(held).chunks) == 3


def test_a_whole_answer_is_cut_in_its_middle(asker: Asker) -> None:
    held, error = received(asker, "cut-after", stream=False)
    assert isinstance(error, httpx.RemoteProtocolError)
    assert held.startswith(b'{"id"')


@pytest.mark.parametrize("stream", [False, True])
def test_a_stalled_answer_keeps_the_connection_and_says_nothing(asker: Asker, *, stream: bool) -> None:
    held, error = received(asker, "stall-after=2", stream=stream)
    assert isinstance(error, httpx.ReadTimeout)
    assert held


def test_a_stream_can_break_into_garbage(asker: Asker) -> None:
    held, error = received(asker, "garbage-after=2")
    assert error is None
    *good, bad = held.decode().strip().split("\n\n")
    assert len(good) == 2
    with pytest.raises(json.JSONDecodeError):
        json.loads(bad.removeprefix("data: "))


def test_a_whole_answer_can_be_broken_json(asker: Asker) -> None:
    response = faulty(asker, "garbage-after")
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()


@pytest.mark.parametrize(("dialect", "done"), [("vllm", True), ("transformers", False)])
def test_an_error_can_come_inside_a_stream(asker_of: AskerFactory, dialect: str, *, done: bool) -> None:
    stream = parsed(faulty(asker_of(dialect=dialect), "error-after=2", stream=True).content)
    assert [list(chunk) == ["error"] for chunk in stream.chunks] == [False, False, True]
    assert stream.done is done


def test_an_error_can_come_with_200(asker: Asker) -> None:
    response = faulty(asker, "error-after")
    assert response.status_code == 200
    assert list(response.json()) == ["error"]


@pytest.mark.parametrize(("fault", "status"), [("html", 502), ("html=200", 200)])
def test_a_proxy_s_page_can_come_instead(asker: Asker, fault: str, status: int) -> None:
    response = faulty(asker, fault)
    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/html")
    assert response.text.startswith("<html>")


def test_a_body_can_be_empty(asker: Asker) -> None:
    response = faulty(asker, "empty")
    assert (response.status_code, response.content) == (200, b"")


def test_a_connection_can_be_dropped_without_a_word(asker: Asker) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        faulty(asker, "drop")


def test_the_first_byte_can_be_slow(asker: Asker) -> None:
    started = time.monotonic()
    assert faulty(asker, "slow=0.05").status_code == 200
    assert time.monotonic() - started >= 0.05  # a lower bound: no machine is too slow for it


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_can_be_compressed(asker: Asker, *, stream: bool) -> None:
    clear = faulty(asker, "", stream=stream)
    packed = faulty(asker, "gzip", stream=stream)
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.content) == len(clear.content)
    with asker.http.stream(
        "POST",
        "/chat/completions",
        json={"messages": [{"role": "user", "content": TEXT}], "stream": stream},
        headers={"X-Emulator-Fault": "gzip"},
    ) as response:
        raw = b"".join(response.iter_raw())
    assert len(gzip.decompress(raw)) == len(clear.content)
    assert len(raw) < len(clear.content)


def test_the_bytes_of_a_stream_can_be_dressed_otherwise_and_mean_the_same(asker: Asker) -> None:
    whole = parsed(faulty(asker, "", stream=True).content)
    for fault in ("chunk=3", "chunk", "comments", "crlf", "comments; crlf; chunk=5"):
        response = faulty(asker, fault, stream=True)
        assert parsed(response.content).deltas == whole.deltas
        assert (b"\r\n\r\n" in response.content) == ("crlf" in fault)
        assert (b": keep-alive" in response.content) == ("comments" in fault)


def test_a_stream_in_pieces_is_sent_in_pieces(asker: Asker) -> None:
    body = {"messages": [{"role": "user", "content": "Say 你好"}], "stream": True}
    headers = {"X-Emulator-Fault": "chunk=1"}
    with asker.http.stream("POST", "/chat/completions", json=body, headers=headers) as response:
        assert parsed(b"".join(response.iter_raw(1))).joined("content") == "你好"


def test_a_stream_can_end_without_done(asker: Asker) -> None:
    assert parsed(faulty(asker, "", stream=True).content).done
    assert not parsed(faulty(asker, "no-done", stream=True).content).done


def test_a_test_can_give_the_next_answers_a_fault(minicpm_emulator: EmulatorServer, asker: Asker) -> None:
    minicpm_emulator.inject("status=500", times=2)
    minicpm_emulator.inject("status=429")
    assert [asker.post("x").status_code for _ in range(4)] == [500, 500, 429, 200]
    minicpm_emulator.inject("status=500")
    minicpm_emulator.reset()
    assert asker.post("x").status_code == 200


def test_a_server_can_have_a_fault_of_its_own(asker_of: AskerFactory) -> None:
    asker = asker_of(fault="status=503")
    assert [asker.post("x").status_code for _ in range(2)] == [503, 503]
    assert asker.http.get("/models").status_code == 200
    assert faulty(asker, "").status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        "explode",
        "status",
        "status=200",
        "status=many",
        "cut-after=-1",
        "cut-after=1.5",
        "slow=inf",
        "slow=nan",
        "chunk=0",
    ],
)
def test_a_fault_that_does_not_exist_is_said_plainly(asker: Asker, fault: str) -> None:
    response = faulty(asker, fault)
    assert response.status_code == 400
    assert fault.partition("=")[0] in response.json()["emulator"]
    with pytest.raises(ConfigurationError):
        asker.server.inject(fault)


def test_every_fault_of_the_table_can_be_asked_for() -> None:
    for name, fault in FAULTS.items():
        value = max(fault.lowest, 1) if fault.default is None else fault.default
        assert parse_fault(f" {name} = {value:g} ;") == {name: value}


def test_without_being_asked_for_no_fault_happens(asker: Asker) -> None:
    answers: list[Any] = [asker.post(TEXT) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert {answer.json()["choices"][0]["message"]["content"] for answer in answers} == {
        " ".join(str(number) for number in range(1, 31))
    }
