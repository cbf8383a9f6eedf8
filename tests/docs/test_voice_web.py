"""The example page's server, spoken to as the page does it; and the page itself where there is a Chromium."""

from __future__ import annotations

import asyncio
import json
import math
import struct
import sys
import wave
from array import array
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from minicpm_core.emulator import EmulatorServer, RealtimeEmulation
from tests.docs.browser import CHROMIUM, tab
from tests.docs.pages import ROOT
from tests.realtime.gateway import gateway
from tests.realtime.talker import cut_short, talker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

APP = ROOT / "examples" / "voice_web" / "app.py"
LOUD = array("f", [0.25, -0.25] * 8000).tobytes()
QUIET = bytes(64_000)


@pytest.fixture(scope="module")
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer(realtime=RealtimeEmulation(speed=20)) as server:
        yield server


@asynccontextmanager
async def served(*arguments: str) -> AsyncGenerator[str, None]:
    """The example as a process of its own; gives the address of the page."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(APP), "--port", "0", *arguments, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        yield line.split()[1].rstrip("/")
    finally:
        process.terminate()
        _, errors = await asyncio.wait_for(process.communicate(), 60)
        assert errors == b"", errors.decode()


@pytest.fixture
async def site(emulator: EmulatorServer) -> AsyncIterator[str]:
    async with served("--gateway", emulator.realtime_url, "--most", "2") as url:
        yield url


def page(site: str, *, origin: str | None = "") -> connect:
    """A connection such as the page opens; `None` for one that does not say whose it is."""
    named = None if origin is None else Origin(origin or site)
    return connect(site.replace("http", "ws") + "/talk", origin=named, compression=None)


async def heard(socket: ClientConnection, *kinds: str) -> list[dict[str, Any]]:
    """What comes down, to the first message of one of the kinds; sound as its turn and the number of its samples."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["type"] not in kinds:
        message = await asyncio.wait_for(socket.recv(), 30)
        if isinstance(message, str):
            found.append(json.loads(message))
        else:
            (turn,) = struct.unpack("<I", message[:4])
            found.append({"type": "sound", "turn": turn, "samples": len(message[4:]) // 4})
    return found


async def test_the_page_may_load_nothing_from_elsewhere(site: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(site)
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200
    assert "default-src 'none'" in policy
    assert "'unsafe" not in policy
    assert policy.count("'sha256-") == 2
    assert "https://" not in answer.text


async def test_a_question_is_answered_with_captions_and_sound(site: str) -> None:
    async with page(site) as socket:
        assert await heard(socket, "ready") == [{"type": "ready"}]
        found: list[dict[str, Any]] = []
        for unit in (LOUD, *[QUIET] * 12):
            await socket.send(unit)
        while not found or found[-1] != {"type": "listen", "turn": 1}:
            found += await heard(socket, "listen")
        await socket.send('{"type": "stop"}')
        with pytest.raises(ConnectionClosed):
            await heard(socket, "never")
    assert socket.close_code == 1000
    text = "".join(each["text"] for each in found if each["type"] == "text")
    assert text.startswith("I am the emulator")
    assert sum(each["samples"] for each in found if each["type"] == "sound") > 24_000
    assert {each["turn"] for each in found if each["type"] in {"text", "sound"}} == {1}


async def test_an_interruption_ends_the_turn(site: str) -> None:
    async with page(site) as socket:
        await heard(socket, "ready")
        for unit in (LOUD, *[QUIET] * 5):
            await socket.send(unit)
        await heard(socket, "sound")
        await socket.send('{"type": "interrupt"}')
        await socket.send(QUIET)
        assert (await heard(socket, "interrupted"))[-1]["turn"] == 1


async def test_after_a_takeover_a_turn_of_the_same_name_is_another_one() -> None:
    async with (
        gateway(cut_short, talker("Yes.")) as found,
        served("--gateway", found.url) as site,
        page(site) as socket,
    ):
        await heard(socket, "ready")
        for unit in (LOUD, QUIET, LOUD, QUIET):
            await socket.send(unit)
        before = await heard(socket, "forgotten")
        after = await heard(socket, "text")
        assert [(each["turn"], each["text"]) for each in before + after if each["type"] == "text"] == [
            (1, "Half "),
            (2, "Yes."),
        ]


@pytest.mark.parametrize("origin", [None, "https://elsewhere.example", "null"])
async def test_other_pages_may_not_connect(site: str, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with page(site, origin=origin):
            pass
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize(
    ("message", "code"),
    [("no json", 1007), ("[]", 1007), ('{"type": "fly"}', 1007), (bytes(64_004), 1007), (b"odd", 1007)],
    ids=["text", "list", "unknown", "long", "odd"],
)
async def test_what_no_page_sends_ends_the_conversation(site: str, message: str | bytes, code: int) -> None:
    async with page(site) as socket:
        await heard(socket, "ready")
        await socket.send(message)
        if message == b"odd":
            await socket.send(b"odder")
        (told,) = [each for each in await heard(socket, "error") if each["type"] == "error"]
        assert told["message"]
        with pytest.raises(ConnectionClosed):
            await heard(socket, "never")
    assert socket.close_code == code


async def test_who_comes_when_all_is_taken_is_told(site: str) -> None:
    async with page(site) as first, page(site) as second:
        await heard(first, "ready")
        await heard(second, "ready")
        async with page(site) as third:
            assert "Too many" in (await heard(third, "error"))[-1]["message"]
            with pytest.raises(ConnectionClosed):
                await heard(third, "never")
        assert third.close_code == 1013
    kind = ""
    while kind != "ready":  # as soon as the first two have said goodbye to the gateway
        async with page(site) as again:
            kind = (await heard(again, "ready", "error"))[-1]["type"]


async def test_a_page_that_leaves_ends_the_session(site: str, emulator: EmulatorServer) -> None:
    before = len(emulator.sessions)
    async with page(site) as socket:
        await heard(socket, "ready")
    async with page(site) as socket:  # the next one comes after it
        await heard(socket, "ready")
    assert len(emulator.sessions) == before + 2


async def test_a_gateway_that_fails_is_told(emulator: EmulatorServer) -> None:
    async with served("--gateway", "ws://127.0.0.1:1") as url, page(url) as socket:
        assert "connection" in (await heard(socket, "error"))[-1]["message"].lower()
        with pytest.raises(ConnectionClosed):
            await heard(socket, "never")
    assert socket.close_code == 1011


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="MINICPM_TEST_CHROMIUM names none")
async def test_in_a_browser_one_speaks_reads_hears_and_interrupts(site: str, tmp_path: Path) -> None:
    question = tmp_path / "question.wav"
    with wave.open(str(question), "wb") as wav:
        wav.setparams((1, 2, 48_000, 0, "NONE", ""))
        wav.writeframes(array("h", (round(9000 * math.sin(math.tau * 440 * at / 48_000)) for at in range(72_000))))
        wav.writeframes(bytes(96_000 * 12))
    async with tab(site, profile=tmp_path / "profile", microphone=question) as browser:
        await browser.run("document.getElementById('talk').click()")
        await browser.until("document.body.dataset.state === 'speaking' && bubbles.size === 1")
        await browser.until("bubbles.get(1).textContent.length > 10 && document.getElementById('out').value > 0.1")
        await browser.run("document.getElementById('interrupt').click()")
        await browser.until("bubbles.get(1).classList.contains('cut')")
        assert (await browser.run("bubbles.get(1).textContent")).startswith("I am the emulator")
        await browser.run("globalThis.old = call; document.getElementById('talk').click()")
        await browser.until("document.body.dataset.state === 'idle' && call === null")
        await browser.until("old.contexts.every(context => context.state === 'closed')")
        assert await browser.run("document.getElementById('status').textContent") == "Not connected"
        assert browser.complaints == []
