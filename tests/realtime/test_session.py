"""A session on a loopback gateway: what is sent, what comes, and how it is closed."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from array import array
from typing import Any

import numpy as np
import pytest

from minicpm_core.errors import InvalidInputError
from minicpm_core.realtime import errors, events
from minicpm_core.realtime.client import RealtimeClient
from minicpm_core.realtime.client_events import Voice
from minicpm_core.realtime.errors import SessionStateError
from minicpm_core.realtime.turns import Turn
from tests.realtime.frames import CASES
from tests.realtime.gateway import Gateway, Peer, gateway

UNIT = bytes(32_000)
"""A second of silence, as 16-bit PCM."""

_SPEECH = array("f", [0.25] * 2400).tobytes()
SPEECH = base64.b64encode(_SPEECH).decode()


pytestmark = pytest.mark.usefixtures("no_task_is_left")


def client_of(found: Gateway, **settings: Any) -> RealtimeClient:
    return RealtimeClient(base_url=found.url, backoff=(0.0, 0.0), **settings)


async def _simple(peer: Peer) -> None:
    await peer.begin()
    await peer.until_closed()


async def _turn(peer: Peer) -> None:
    await peer.begin()
    unit = await peer.hear("input.append")
    name = unit["input"]["input_id"]
    await peer.delta("text", text="Hel", response_id="r1", input_id=name)
    await peer.delta("audio", audio=SPEECH, response_id="r1", input_id=name)
    await peer.delta("text", text="lo.", response_id="r1", input_id=name)
    await peer.delta("audio", audio=SPEECH, response_id="r1", input_id=name)
    await peer.delta("listen", response_id="r1", input_id=name)
    await peer.until_closed()


async def test_a_session_begins_sends_units_and_ends() -> None:
    async with gateway(_simple) as found:
        voice = Voice(ref_audio=_SPEECH)
        client = client_of(found)
        async with client.session(system_prompt="Hi", config={"top_k": 3}, voice=voice) as session:
            assert session.state == "active"
            assert session.created
            for piece in (UNIT[:7], UNIT[7:], UNIT[:3201]):
                await session.send_audio(piece)
            await session.send_audio(UNIT[3201:16_001] + UNIT[:1])
            await session.flush()
            seen = [await anext(session) for _ in range(4)]
    assert [type(event).__name__ for event in seen] == ["QueueDone", "SessionCreated", "Listen", "Listen"]
    (peer,) = found.peers
    init, first, second, goodbye = peer.heard
    assert init["payload"]["system_prompt"] == "Hi"
    assert init["payload"]["voice"] == {"ref_audio_base64": SPEECH}
    assert [unit["input"]["input_id"] for unit in (first, second)] == ["in_1", "in_2"]
    assert goodbye == {"type": "session.close", "reason": "user_stop"}
    assert session.state == "closed"
    assert peer.socket.close_code == 1000


async def test_numpy_at_another_rate_is_taken() -> None:
    async with gateway(_simple) as found, client_of(found).session() as session:
        await session.send_audio(np.full(48_000, 0.25, "f4"), sample_rate=48_000)
        await session.flush()
        async for event in session:
            if isinstance(event, events.Listen):
                break
    sent = array("f", base64.b64decode(found.peers[0].heard[1]["input"]["audio"]))
    assert abs(sent[8000] - 0.25) < 1e-6


async def test_turns_have_their_text_and_their_sound() -> None:
    async with gateway(_turn) as found, client_of(found).session() as session:
        await session.send_audio(UNIT)
        async for turn in session.turns():
            assert turn == Turn(response_id="r1", text="Hello.", audio=_SPEECH * 2)
            break


async def test_the_first_generation_works_alike() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.hear("input_audio_buffer.append")
        await peer.say("response.output_audio.delta", text="Hello.", audio=SPEECH, end_of_turn=True, kv_cache_length=9)
        await peer.say("error", error={"code": "inference_failed", "message": "m", "type": "server_error"})
        await peer.hear("session.close")
        await peer.say("session.closed", reason="stopped")
        peer.socket.transport.abort()  # as they do: 1006

    async with gateway(script, generation=1) as found, client_of(found, generation=1).session() as session:
        await session.send_audio(UNIT)
        seen: list[events.ServerEvent] = []
        async for event in session:
            seen.append(event)
            if isinstance(event, events.ErrorEvent):
                break
    assert [type(event).__name__ for event in seen[2:]] == ["TextDelta", "AudioDelta", "Listen", "ErrorEvent"]


async def test_a_queue_is_waited_in_and_told() -> None:
    async def script(peer: Peer) -> None:
        await peer.say("session.queued", position=2, estimated_wait_s=1.5, ticket_id="q", queue_length=2)
        await peer.say("session.queue_update", position=1, estimated_wait_s=0.5, queue_length=1)
        await _simple(peer)

    places: list[int | None] = []
    async with (
        gateway(script) as found,
        client_of(found).session(on_queue=lambda event: places.append(event.position)) as session,
    ):
        assert isinstance(await anext(session), events.QueueDone)
    assert places == [2, 1]


async def test_what_nobody_knows_is_handed_on_wherever_it_comes_and_changes_nothing() -> None:
    async def script(peer: Peer) -> None:
        await peer.say("gateway.hello", place="queued")
        await peer.say("session.queue_done", new=1)
        await peer.hear("session.init")
        await peer.say("worker.hello", place="initialising")
        await peer.say("session.created", session_id="sess_1", new={"of": "tomorrow"})
        unit = await peer.hear("input.append")
        await peer.delta("smell", response_id="r1", place="active")
        await peer.delta("text", text="Hi.", response_id="r1", input_id=unit["input"]["input_id"], new=[2])
        await peer.delta("listen", response_id="r1")
        await peer.hear("session.close")
        await peer.say("worker.goodbye", place="closing")
        await peer.say("session.closed", reason="user_stop")

    async with gateway(script) as found, client_of(found).session() as session:
        await session.send_audio(UNIT)
        seen: list[events.ServerEvent] = []
        async for event in session:
            seen.append(event)
            if isinstance(event, events.Listen):
                break
        assert [
            (type(event).__name__, *((event.type,) if isinstance(event, events.UnknownEvent) else ())) for event in seen
        ] == [
            ("UnknownEvent", "gateway.hello"),
            ("QueueDone",),
            ("UnknownEvent", "worker.hello"),
            ("SessionCreated",),
            ("UnknownEvent", "response.output.delta/smell"),
            ("TextDelta",),
            ("Listen",),
        ]
    assert [event.extra.get("place") for event in seen[::2]][:3] == ["queued", "initialising", "active"]
    assert [event.extra["new"] for event in (seen[1], seen[3], seen[5])] == [1, {"of": "tomorrow"}, [2]]


async def test_an_interrupt_forces_the_model_to_listen_and_drops_the_rest_of_the_turn() -> None:
    interrupted = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.hear("input.append")
        for text in ("one ", "two ", "three "):
            await peer.delta("text", text=text, response_id="r1")
        await interrupted.wait()
        await peer.delta("text", text="four", response_id="r1")
        await peer.delta("listen", response_id="r1")
        unit = await peer.hear("input.append")
        assert unit["input"]["force_listen"] is True
        unit = await peer.hear("input.append")
        assert "force_listen" not in unit["input"]
        await peer.delta("text", text="Yes?", response_id="r2")
        await peer.delta("listen", response_id="r2")
        await peer.until_closed()

    async with gateway(script) as found, client_of(found).session() as session:
        await session.send_audio(UNIT)
        async for event in session:
            if isinstance(event, events.TextDelta):
                break
        await session.interrupt()
        interrupted.set()
        await session.send_audio(UNIT * 2)
        rest: list[events.ServerEvent] = []
        async for event in session:
            rest.append(event)
            if isinstance(event, events.TextDelta):
                break
    assert rest[0] == events.ResponseInterrupted(response_id="r1")
    assert [event.text for event in rest if isinstance(event, events.TextDelta)] == ["Yes?"]


async def test_a_frame_goes_with_the_next_unit_and_only_the_latest() -> None:
    async with gateway(_simple) as found, client_of(found).session(mode="video") as session:
        await session.send_frame(np.zeros((1080, 1920, 3), "u1"))
        await session.send_frame(np.full((1080, 1920, 3), 255, "u1"))
        await session.send_audio(UNIT * 2)
        await session.flush()
    first, second = found.peers[0].heard[1:3]
    (frame,) = first["input"]["video_frames"]
    assert base64.b64decode(frame)[:3] == b"\xff\xd8\xff"
    assert len(frame) < 20_000
    assert "video_frames" not in second["input"]


@pytest.mark.parametrize(
    ("mode", "frame"),
    [("audio", np.zeros((8, 8, 3), "u1")), ("video", np.zeros((8, 8), "u1")), ("video", b"no picture")],
)
async def test_a_frame_that_cannot_be_shown_is_refused(mode: Any, frame: Any) -> None:
    async with gateway(_simple) as found, client_of(found).session(mode=mode) as session:
        with pytest.raises(InvalidInputError):
            await session.send_frame(frame)


def test_bad_settings_are_refused_before_anything_is_opened() -> None:
    with pytest.raises(InvalidInputError, match="temperature"):
        RealtimeClient().session(config={"temperature": "hot"})


@pytest.mark.parametrize("bad", [np.zeros((5, 2), "f4"), np.array([2.0], "f4"), "sound"])
async def test_sound_that_is_none_is_refused_and_the_session_goes_on(bad: Any) -> None:
    async with gateway(_simple) as found, client_of(found).session() as session:
        with pytest.raises(InvalidInputError):
            await session.send_audio(bad)
        await session.send_audio(UNIT)
        await session.flush()
    assert len(found.peers[0].heard) == 3


@pytest.mark.parametrize("case", ["gen2-video", "gen2chain-audio", "gen2-chat"])
async def test_recorded_frames_cut_into_fragments_are_the_same_events(case: str) -> None:
    """Fragments of a WebSocket message, also inside of a character."""
    lines = CASES[case]
    down = [line for line in lines if line.direction == "down" and line.frame["type"] != "session.queue_done"]

    async def script(peer: Peer) -> None:
        await peer.say("session.queue_done")
        await peer.hear("session.init")
        for size, line in zip((1, 3, 7, 1000, 50_000) * len(down), down, strict=False):
            text = json.dumps({**line.frame, "extra": "你好"}, ensure_ascii=False)
            step = max(size, len(text) // 200)
            await peer.socket.send(text[at : at + step] for at in range(0, len(text), step))

    seen: list[events.ServerEvent] = []
    async with gateway(script) as found:
        session = client_of(found).session(mode="chat" if case == "gen2-chat" else "video")
        await session.__aenter__()
        while len(seen) < len(down) + 1:
            seen.append(await anext(session))
        with pytest.raises(errors.SessionEndedError):
            await anext(session)
        await session.close()
    assert len(seen) == len(down) + 1
    assert all(event.extra == {"extra": "你好"} for event in seen[1:])


async def test_sending_waits_while_too_many_units_wait() -> None:
    """Bounded: a gateway that does not read does not fill the memory."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.begin()
        await release.wait()
        await peer.until_closed()

    async with gateway(script) as found, client_of(found, max_pending_units=2).session() as session:
        sending = asyncio.create_task(session.send_audio(UNIT * 150))
        done, _ = await asyncio.wait({sending}, timeout=1.0)
        assert not done
        assert session.metrics.units_pending == 2
        release.set()
        await sending
        await session.flush()
        count = 0
        async for event in session:
            count += isinstance(event, events.Listen)
            if count == 150:
                break
    assert [unit["input"]["input_id"] for unit in found.peers[0].heard[1:-1]] == [f"in_{n}" for n in range(1, 151)]


async def test_who_wants_the_answers_waits_until_they_are_there() -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.answer(await peer.hear("input.append"))
        unit = await peer.hear("input.append")
        await release.wait()
        await peer.answer(unit)
        await peer.until_closed()

    async with gateway(script) as found, client_of(found).session() as session:
        await session.answered()
        await session.send_audio(UNIT * 2)
        waiting = asyncio.create_task(session.answered())
        async for event in session:
            if isinstance(event, events.Listen):
                break
        assert session.metrics.units_unanswered == 1
        assert not waiting.done()
        release.set()
        await waiting
        assert session.metrics.units_unanswered == 0
        assert isinstance(await anext(session), events.Listen)


@pytest.mark.parametrize("closed", [True, False])
async def test_nobody_waits_for_answers_that_will_not_come(*, closed: bool) -> None:
    sent = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.hear("input.append")
        sent.set()
        if closed:
            await peer.hear("session.close")
            await peer.say("session.closed", reason="user_stop")
        else:
            peer.socket.transport.abort()

    async with gateway(script) as found:
        session = client_of(found).session()
        await session.__aenter__()
        assert [type(await anext(session)).__name__ for _ in range(2)] == ["QueueDone", "SessionCreated"]
        await session.send_audio(UNIT)
        waiting = asyncio.create_task(session.answered())
        await sent.wait()
        if closed:
            await session.close()
            await waiting
        else:
            with pytest.raises(errors.ConnectionLostError):
                await waiting
        await session.close()


async def test_a_session_is_used_once_and_only_while_it_lasts() -> None:
    async with gateway(_simple) as found:
        session = client_of(found).session()
        with pytest.raises(SessionStateError, match="connecting"):
            await session.send_audio(UNIT)
        async with session:
            with pytest.raises(SessionStateError, match="once"):
                await session.__aenter__()
        with pytest.raises(SessionStateError, match="closed"):
            await session.send_audio(UNIT)
        assert [type(event).__name__ async for event in session] == ["QueueDone", "SessionCreated"]
        await session.close()


async def test_the_key_is_sent_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with gateway(_simple) as found:
        client = client_of(found, api_key="a-key-of-mine")
        async with client.session():
            request = found.peers[0].socket.request
            assert request
            assert request.headers["Authorization"] == "Bearer a-key-of-mine"
        assert "a-key-of-mine" not in repr(vars(client))
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("minicpm_core")]
    assert not [text for text in ours if "a-key-of-mine" in text or "sess_1" in text]


async def test_nothing_about_a_session_is_logged_however_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def lost(peer: Peer) -> None:
        await peer.begin()
        await peer.hear("input.append")
        peer.socket.transport.abort()

    async def refused(peer: Peer) -> None:
        await peer.say("error", error={"code": "queue_full", "message": "sess_1 waits", "type": "server_error"})
        await peer.socket.close(1013)

    async def use(found: Gateway) -> None:
        async with client_of(found, max_retries=1).session(system_prompt="a-secret-of-mine") as session:
            await session.send_audio(UNIT)
            async for _ in session:
                pass

    caplog.set_level(logging.DEBUG, logger="minicpm_core")
    async with gateway(refused, lost) as found:
        with pytest.raises(errors.ConnectionLostError):
            await use(found)
    assert [record for record in caplog.records if record.name.startswith("minicpm_core")] == []


async def test_after_an_error_of_the_user_s_own_the_session_is_closed_with_a_goodbye() -> None:
    async with gateway(_simple) as found:
        session = client_of(found).session()
        await session.__aenter__()
        await session.__aexit__(KeyError, KeyError(), None)
    assert found.peers[0].heard[-1]["type"] == "session.close"
