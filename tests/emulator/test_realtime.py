"""A realtime session with the emulator, as a plain WebSocket client sees it. Every frame keeps to the schema."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from array import array
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from minicpm_core.emulator import EmulatorServer, RealtimeEmulation
from minicpm_core.errors import ConfigurationError
from tests.emulator.realtime import SILENCE, Caller, calling, jpeg, text_of, tone

if TYPE_CHECKING:
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory

NOW = {"force_listen_count": 0}


async def turn(caller: Caller, question: bytes, **fields: Any) -> list[dict[str, Any]]:
    """All deltas of the answer to a sound of one unit."""
    await caller.unit(question, **fields)
    for _ in range(24):
        await caller.unit()
    found: list[dict[str, Any]] = []
    while not found or found[-1]["kind"] != "listen":
        frame = await caller.hear("response.output.delta")
        if "response_id" in frame:
            found.append(frame)
    return found


def said(frames: list[dict[str, Any]]) -> str:
    return "".join(frame.get("text", "") for frame in frames)


def sound(frames: list[dict[str, Any]]) -> array[float]:
    return array("f", b"".join(base64.b64decode(frame.get("audio", "")) for frame in frames))


async def test_it_answers_a_sound_once_that_is_followed_by_silence(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator) as caller:
        created = await caller.begin(config=NOW, system_prompt="You are brief.")
        assert created["mode"] == "full_duplex"
        assert created["usage"]["input_token_details"]["text_tokens"] == 4
        await caller.unit()
        assert (await caller.hear())["kind"] == "listen"
        frames = await turn(caller, tone(440))
    assert said(frames) == ("I am the emulator, not a model. I heard 1 second of sound, loud, around 440 hertz.")
    assert len({frame["response_id"] for frame in frames}) == 1
    assert [frame["kind"] for frame in frames[:4]] == ["text", "audio", "text", "audio"]


async def test_what_it_says_can_be_heard(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator) as caller:
        await caller.begin(config=NOW)
        frames = await turn(caller, tone(330))
    pieces = [len(base64.b64decode(frame["audio"])) // 4 for frame in frames if frame["kind"] == "audio"]
    assert pieces[0] < 24_000
    assert set(pieces[1:-1]) == {24_000}
    samples = sound(frames)
    assert 0.2 < max(samples) <= 1
    assert min(samples) < -0.2
    second = samples[24_000:48_000]
    rises = sum(before < 0 <= after for before, after in itertools.pairwise(second))
    assert 100 < rises < 6000  # a voice: neither a hum nor a hiss


async def test_it_says_what_it_heard_and_saw(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator, mode="video") as caller:
        await caller.begin(config=NOW)
        frames = await turn(caller, tone(1000, peak=0.02), video_frames=[text_of(jpeg("blue", (320, 240)))])
    assert "quiet, around 1000 hertz" in said(frames)
    assert said(frames).endswith("I see 320 by 240 pixels, mostly blue.")


async def test_the_first_units_are_listened_to(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator) as caller:
        await caller.begin()
        kinds: list[str] = []
        for audio in (tone(440), SILENCE, SILENCE, SILENCE):
            await caller.unit(audio)
            kinds.append((await caller.hear())["kind"])
    assert kinds == ["listen", "listen", "listen", "text"]


@pytest.mark.parametrize("asked", [{"force_listen": True}, {"hints": {"force_listen": True}}])
async def test_who_is_interrupted_says_so_later(minicpm_emulator: EmulatorServer, asked: dict[str, Any]) -> None:
    async with calling(minicpm_emulator) as caller:
        await caller.begin(config=NOW)
        await caller.unit(tone(440))
        await caller.unit()
        await caller.unit(**asked)
        kinds = [(await caller.hear())["kind"] for _ in range(4)]
        frames = await turn(caller, tone(440))
    assert kinds == ["listen", "text", "audio", "listen"]
    assert said(frames).endswith("You interrupted me before.")


async def test_an_interrupted_turn_ends_with_a_listen_that_names_it(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator) as caller:
        await caller.begin(config=NOW)
        for audio, forced in ((tone(440), False), (SILENCE, False), (SILENCE, True)):
            await caller.unit(audio, force_listen=forced, input_id="u")
        frames = [await caller.hear() for _ in range(4)]
        await caller.unit()
        after = await caller.hear()
    assert [frame["kind"] for frame in frames] == ["listen", "text", "audio", "listen"]
    assert "response_id" not in frames[0]
    assert frames[1]["response_id"] == frames[2]["response_id"] == frames[3]["response_id"]
    assert after["kind"] == "listen"
    assert "response_id" not in after


async def test_it_yields_to_who_speaks(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator) as caller:
        await caller.begin(config=NOW)
        for audio in (tone(440), SILENCE, tone(300)):
            await caller.unit(audio)
        frames = [await caller.hear() for _ in range(4)]
    assert [frame["kind"] for frame in frames] == ["listen", "text", "audio", "listen"]


async def test_units_are_counted_and_cost_something(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator, mode="video") as caller:
        created = await caller.begin(config=NOW)
        await caller.unit(video_frames=[text_of(jpeg())], input_id="one")
        first = await caller.hear()
        await caller.unit(video_frames=[text_of(jpeg(size=(1344, 1344)))], max_slice_nums=[9])
        second = await caller.hear()
    assert (first["chunk_index"], second["chunk_index"]) == (0, 1)
    assert first["input_id"] == "one"
    assert "input_id" not in second
    assert first["chunk_usage"]["input_token_details"] == {"text_tokens": 1, "audio_tokens": 16, "vision_tokens": 64}
    assert second["metrics"]["vision_slices"] > 4
    grown = created["metrics"]["kv_cache_length"] + 81
    assert first["metrics"]["kv_cache_length"] == grown
    assert first["usage"]["total_tokens"] == created["usage"]["total_tokens"] + 81


async def test_units_may_come_faster_than_they_are_spoken(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator) as caller:
        await caller.begin()
        for number in range(40):
            await caller.unit(input_id=str(number))
        heard = [(await caller.hear())["input_id"] for _ in range(40)]
    assert heard == [str(number) for number in range(40)]


async def test_a_session_ends_with_the_client_s_reason(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator) as caller:
        created = await caller.begin()
        await caller.say("session.close", reason="enough")
        frames, code = await caller.end()
    assert [(frame["type"], frame["reason"], frame["session_id"]) for frame in frames] == [
        ("session.closed", "enough", created["session_id"])
    ]
    assert code == 1000
    assert [(session.state, session.ended) for session in minicpm_emulator.sessions] == [("closed", "enough")]


async def test_an_early_init_and_none_at_all_do_as_well(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator) as caller:
        await caller.say("session.init", payload={})
        assert [(await caller.hear())["type"] for _ in range(2)] == ["session.queue_done", "session.created"]
    async with calling(minicpm_emulator) as caller:
        await caller.unit()
        names = [(await caller.hear())["type"] for _ in range(3)]
    assert names == ["session.queue_done", "session.created", "response.output.delta"]


@pytest.mark.parametrize(
    ("message", "diagnostic"),
    [
        ("{not json", None),
        ('"text"', None),
        ('{"type": "foo.bar"}', None),
        ('{"type": "session.update", "session": {}}', None),
        ('{"type": "input.append"}', "input.append requires input"),
        ('{"type": "input.append", "input": {}}', "full_duplex input requires audio"),
        ('{"type": "input.append", "input": {"audio": ""}}', "full_duplex input requires audio"),
        ('{"type": "input.append", "input": {"audio": "AAA="}}', "buffer size must be a multiple of element size"),
        ('{"type": "input.append", "input": {"audio": "AADAfw=="}}', "audio holds samples that are not finite"),
        (
            '{"type": "input.append", "input": {"audio": "AAAAAA==", "video_frames": ["AAAA"]}}',
            "video_frames must be JPEG files",
        ),
        (
            '{"type": "input.append", "input": {"audio": "AAAAAA==", "max_slice_nums": [1]}}',
            "max_slice_nums has 1 numbers for 0 frames",
        ),
        ('{"type": "input.append", "input": {"messages": []}}', "full_duplex input requires audio"),
    ],
)
async def test_every_mistake_is_fatal(minicpm_emulator: EmulatorServer, message: str, diagnostic: str | None) -> None:
    async with calling(minicpm_emulator) as caller:
        await caller.begin()
        await caller.socket.send(message)
        frames, code = await caller.end()
    assert [(frame["reason"], frame.get("diagnostic", {}).get("message")) for frame in frames] == [
        ("backend_error", diagnostic)
    ]
    assert code == 1000


async def test_what_is_no_base64_is_passed_over(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator) as caller:
        await caller.begin()
        await caller.say("input.append", input={"audio": "!!!"})
        assert (await caller.hear())["kind"] == "listen"
    assert minicpm_emulator.sessions[-1].units[-1].samples == 0


async def test_binary_messages_are_refused(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator) as caller:
        await caller.begin()
        await caller.socket.send(b"{}")
        frames, code = await caller.end()
    assert [(frame["error"]["code"], frame["error"]["message"]) for frame in frames] == [("session_failed", "'text'")]
    assert code == 1000


async def test_an_unknown_mode_is_refused(minicpm_emulator: EmulatorServer) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with calling(minicpm_emulator, mode="foo"):
            pass
    assert refused.value.response.status_code == 403


async def test_a_key_is_asked_for_where_one_is_set(minicpm_emulator_factory: EmulatorFactory) -> None:
    server = minicpm_emulator_factory(api_key="right")
    with pytest.raises(InvalidStatus) as refused:
        async with calling(server, headers={"Authorization": "Bearer wrong"}):
            pass
    assert refused.value.response.status_code == 401
    async with calling(server, headers={"Authorization": "Bearer right"}) as caller:
        await caller.begin()
    assert "right" not in repr(server.sessions)


@pytest.mark.parametrize(("mode", "limits"), [("audio", (1, 600)), ("video", (600, 1))])
async def test_a_session_ends_at_its_limit(
    minicpm_emulator_factory: EmulatorFactory, mode: str, limits: tuple[float, float]
) -> None:
    audio, video = limits
    server = minicpm_emulator_factory(realtime=RealtimeEmulation(audio_limit=audio, video_limit=video, speed=20))
    async with calling(server, mode=mode) as caller:
        await caller.begin()
        frames, code = await caller.end()
    assert frames == [{"type": "session.closed", "reason": "timeout"}]
    assert code == 1000


async def test_who_comes_later_waits_and_is_told_so(minicpm_emulator_factory: EmulatorFactory) -> None:
    server = minicpm_emulator_factory(realtime=RealtimeEmulation(workers=1, queue_size=2, speed=100))
    async with calling(server) as first, calling(server) as second, calling(server) as third:
        await first.begin()
        queued = await second.hear("session.queued")
        assert (queued["position"], queued["queue_length"]) == (1, 1)
        assert (await third.hear("session.queued"))["position"] == 2
        assert (await third.hear("session.queue_update"))["position"] == 2
        async with calling(server) as fourth:
            frames, code = await fourth.end()
        assert [frame["error"]["code"] for frame in frames] == ["queue_full"]
        assert code == 1013
        await second.socket.close()
        while (await third.hear("session.queue_update"))["position"] == 2:
            pass
        await first.say("session.close")
        while (frame := await third.hear())["type"] == "session.queue_update":
            pass
        assert frame == {"type": "session.queue_done"}


async def test_without_workers_one_waits_for_ever(minicpm_emulator_factory: EmulatorFactory) -> None:
    server = minicpm_emulator_factory(realtime=RealtimeEmulation(workers=0, speed=1000))
    async with calling(server) as caller:
        assert (await caller.hear("session.queued"))["estimated_wait_s"] == 0
        for _ in range(3):
            assert (await caller.hear("session.queue_update"))["estimated_wait_s"] == 0


async def test_who_reconnects_at_once_meets_a_busy_worker(minicpm_emulator_factory: EmulatorFactory) -> None:
    server = minicpm_emulator_factory(realtime=RealtimeEmulation(workers=1, release=600))
    async with calling(server) as caller:
        await caller.begin()
        caller.socket.transport.abort()
    while server.sessions[-1].ended is None:  # noqa: ASYNC110 - it is told in another thread
        await asyncio.sleep(0)
    async with calling(server) as caller:
        frames, code = await caller.end()
    assert [frame["type"] for frame in frames] == ["session.queue_done", "error"]
    assert frames[1]["error"]["message"] == "server rejected WebSocket connection: HTTP 403"
    assert code == 1000


async def test_a_server_that_stops_says_1012(minicpm_emulator_factory: EmulatorFactory) -> None:
    with EmulatorServer() as server:
        async with calling(server) as caller:
            await caller.begin()
            await asyncio.to_thread(server.stop)
            with pytest.raises(ConnectionClosed):
                await caller.socket.recv()
            assert caller.socket.close_code == 1012


async def test_a_session_is_recorded_without_its_sound(minicpm_emulator: EmulatorServer) -> None:
    voice = text_of(tone(200, 0.5))
    async with calling(minicpm_emulator, mode="video", query="&page_session_id=p") as caller:
        await caller.begin(voice={"ref_audio_base64": voice}, system_prompt="Hi")
        await caller.unit(tone(440), video_frames=[text_of(jpeg())], force_listen=True, input_id="one")
        await caller.hear()
    (session,) = minicpm_emulator.sessions
    assert (session.mode, session.generation, session.count) == ("video", 2, 1)
    assert session.init == {"voice": {"ref_audio_base64": 8000}, "system_prompt": "Hi"}
    (unit,) = session.units
    assert (unit.number, unit.input_id, unit.samples, unit.force_listen) == (1, "one", 16_000, True)
    assert -10 < unit.level < -8
    assert unit.frames == (len(jpeg()),)


async def test_without_sound_there_is_text(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator) as caller:
        await caller.begin(config={**NOW, "generate_audio": False})
        await caller.unit(tone(440))
        await caller.hear()
        assert [frame["kind"] for frame in await caller.answer()] == ["text"]


# --- Sessions that take turns ---------------------------------------------------------------------------------------


async def ask(caller: Caller, content: Any, **fields: Any) -> list[dict[str, Any]]:
    await caller.say("input.append", input={"messages": [{"role": "user", "content": content}], **fields})
    found = [await caller.hear()]
    while found[-1]["type"] != "response.done":
        found.append(await caller.hear())
    return found


async def test_a_chat_is_streamed_or_whole(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator, mode="chat") as caller:
        created = await caller.begin()
        assert created["mode"] == "turn_based"
        assert "usage" not in created
        streamed = await ask(caller, "Count to 5.", input_id="q")
        whole = await ask(caller, "Count to 5.", streaming=False)
        named = await ask(caller, "Count to 5.", response_id="mine", streaming=False)
    assert said(streamed[:-1]) == streamed[-1]["text"] == "1 2 3 4 5"
    assert len(streamed) > 3
    assert {frame["input_id"] for frame in streamed} == {"q"}
    assert [frame["text"] for frame in whole] == ["1 2 3 4 5"]
    assert whole[0]["reason"] == "turn_end"
    assert "audio" not in whole[0]
    assert named[0]["response_id"] == "mine"


async def test_a_chat_looks_and_listens(minicpm_emulator: EmulatorServer) -> None:
    picture = {"type": "image", "data": text_of(jpeg("green", (320, 240)))}
    recording = {"type": "audio", "data": text_of(tone(440))}
    async with calling(minicpm_emulator, mode="chat") as caller:
        await caller.begin()
        seen = await ask(caller, [{"type": "text", "text": "Describe this."}, picture])
        heard = await ask(caller, [recording, {"type": "text", "text": "Describe this."}], streaming=False)
    assert "320 x 240 pixels" in seen[-1]["text"]
    assert "green" in seen[-1]["text"]
    assert "440" in heard[-1]["text"]
    assert text_of(tone(440))[:40] not in repr(minicpm_emulator.sessions)


async def test_a_chat_speaks_if_asked_to(minicpm_emulator: EmulatorServer) -> None:
    async with calling(minicpm_emulator, mode="chat") as caller:
        await caller.begin()
        streamed = await ask(caller, "Count to 5.", tts={"enabled": True})
        whole = await ask(caller, "Count to 5.", tts={"enabled": True}, streaming=False)
    assert "audio" not in streamed[-1]
    assert sound(streamed) == sound(whole)
    assert len(sound(whole)) > 20_000


@pytest.mark.parametrize(
    "given",
    [
        {"audio": "AAAAAA=="},
        {"messages": []},
        {"messages": [{"role": "king", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "smell", "data": "AAAA"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "data": "AAAA"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "audio", "data": "AAA="}]}]},
        {"messages": [{"role": "user", "content": 3}]},
    ],
)
async def test_a_question_that_is_none_ends_the_chat(minicpm_emulator: EmulatorServer, given: Any) -> None:
    async with calling(minicpm_emulator, mode="chat") as caller:
        await caller.begin()
        await caller.say("input.append", input=given)
        frames, _ = await caller.end()
    assert [frame["reason"] for frame in frames] == ["backend_error"]
    assert frames[0]["diagnostic"]["message"]


# --- The first generation -------------------------------------------------------------------------------------------


@pytest.fixture
def old(minicpm_emulator_factory: EmulatorFactory) -> EmulatorServer:
    return minicpm_emulator_factory(realtime=RealtimeEmulation(generation=1))


async def test_the_first_generation_answers_in_its_own_words(old: EmulatorServer) -> None:
    async with calling(old, generation=1) as caller:
        created = await caller.begin()
        assert created["session_id"].startswith("rt_")
        for audio in (tone(440), *[SILENCE] * 3):
            await caller.unit(audio)
        frames = [await caller.hear() for _ in range(4)]
        while not frames[-1].get("end_of_turn"):
            await caller.unit()
            frames.append(await caller.hear())
    assert [frame["type"] for frame in frames[:4]] == ["response.listen"] * 3 + ["response.output_audio.delta"]
    assert said(frames).startswith("I am the emulator, not a model.")
    lengths = [frame["kv_cache_length"] for frame in frames]
    assert lengths == sorted(set(lengths))


async def test_the_first_generation_says_goodbye_without_a_close_frame(old: EmulatorServer) -> None:
    async with calling(old, generation=1) as caller:
        await caller.begin()
        await caller.say("session.close", reason="user_stop")
        frame = await caller.hear()
        with pytest.raises(ConnectionClosed):
            await caller.socket.recv()
    assert frame == {"type": "session.closed", "reason": "stopped"}
    assert caller.socket.close_code == 1006


async def test_the_first_generation_goes_on_after_a_mistake(old: EmulatorServer) -> None:
    async with calling(old, generation=1) as caller:
        await caller.begin()
        await caller.say("foo.bar")
        await caller.say("input_audio_buffer.append", audio="")
        failed = json.loads(await caller.socket.recv())
        await caller.unit()
        after = await caller.hear()
    assert failed["error"] == {"code": "inference_failed", "message": "Missing audio_base64", "type": "server_error"}
    assert after["type"] == "response.listen"


async def test_the_first_generation_breaks_off_at_broken_json(old: EmulatorServer) -> None:
    async with calling(old, generation=1) as caller:
        await caller.begin()
        await caller.socket.send("{not json")
        with pytest.raises(ConnectionClosed):
            await caller.socket.recv()
    assert caller.socket.close_code == 1006


async def test_the_first_generation_does_not_answer_the_second(old: EmulatorServer) -> None:
    async with calling(old, generation=1, mode="anything") as caller:
        await caller.hear("session.queue_done")
        await caller.say("session.init", payload={})
        await caller.say("session.update", session={"instructions": "Hi"})
        await caller.hear("session.created")
    assert old.sessions[-1].mode == "audio"


# --- Settings, and what is missing ----------------------------------------------------------------------------------


def test_plain_http_is_told_what_this_is(minicpm_emulator: EmulatorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = httpx.get(f"{minicpm_emulator.base_url}/realtime")
    assert answer.status_code == 426
    assert "WebSocket" in answer.json()["emulator"]


@pytest.mark.parametrize(
    "settings",
    [
        {"generation": 3},
        {"workers": -1},
        {"queue_size": -1},
        {"release": -1},
        {"audio_limit": 0},
        {"video_limit": float("inf")},
        {"speed": 0},
        {"fault": "explode"},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        RealtimeEmulation(**settings)
