"""The realtime Runnable on a loopback gateway."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import pickle
import time
from array import array
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.exceptions import ModelConnectionError, ModelInvalidRequestError
from langchain_core.runnables import RunnableLambda
from langsmith._internal._serde import dumps_json
from PIL import Image

from langchain_minicpm import MiniCPMRealtime, RealtimeChunk, RealtimeInput, each_turn, transcript
from minicpm_core.emulator import RealtimeEmulation
from minicpm_core.errors import ConfigurationError, InvalidInputError, UnsupportedFeatureError
from minicpm_core.realtime import errors
from minicpm_core.realtime.client import RealtimeClient
from minicpm_core.realtime.events import (
    AudioDelta,
    Listen,
    ResponseInterrupted,
    SessionCreated,
    SessionReplaced,
    TextDelta,
)
from tests.realtime.gateway import Peer, gateway
from tests.realtime.talker import LOUD, QUIET, SPOKEN, cut_short, loudness, talker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from uuid import UUID

    from minicpm_core.emulator.pytest_plugin import EmulatorFactory


pytestmark = pytest.mark.usefixtures("no_task_is_left")


class Tracer(AsyncCallbackHandler):
    """Keeps what a tracer is told."""

    def __init__(self) -> None:
        self.started: list[tuple[Any, dict[str, Any]]] = []
        self.ended: list[Any] = []
        self.failed: list[BaseException] = []

    async def on_chain_start(
        self, serialized: dict[str, Any], inputs: dict[str, Any], *, run_id: UUID, **kwargs: Any
    ) -> None:
        self.started.append((inputs, kwargs))

    async def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        self.ended.append(outputs)

    async def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.failed.append(error)


async def stream_of(*items: Any) -> AsyncGenerator[Any, None]:
    for item in items:
        yield item


def realtime(url: str, **settings: Any) -> MiniCPMRealtime:
    return MiniCPMRealtime(RealtimeClient(base_url=url, backoff=(0.0, 0.0)), **settings)


# --- Streaming --------------------------------------------------------------------------------------------------------


async def test_sound_goes_in_and_events_come_out_until_the_model_has_answered() -> None:
    async with gateway(talker("Hello there.")) as found:
        chunks = [chunk async for chunk in realtime(found.url).atransform(stream_of(LOUD[:10_000], LOUD[10_000:]))]
    kinds = [type(chunk.event).__name__ for chunk in chunks]
    assert kinds[1:] == ["SessionCreated", "Listen", *["TextDelta", "AudioDelta"] * 2, "Listen"]
    assert found.peers[0].heard[-1]["type"] == "session.close"


async def test_ainvoke_gives_the_sum() -> None:
    async with gateway(talker("Hello there.")) as found:
        total = await realtime(found.url).ainvoke(LOUD)
    assert total.text == "Hello there."
    assert total.audio == SPOKEN * 2
    assert total.audio_seconds == pytest.approx(0.2)
    (turn,) = total.turns
    assert (turn.text, turn.interrupted) == ("Hello there.", False)


@pytest.mark.parametrize(
    "given",
    [
        LOUD,
        [LOUD],
        np.frombuffer(LOUD, "i2"),
        np.full(16_000, 0.25, "f4"),
        RealtimeInput(audio=array("f", [0.25] * 48_000), sample_rate=48_000),
        (LOUD, None),
    ],
    ids=["bytes", "list", "int16", "float32", "input", "pair"],
)
async def test_sound_is_taken_in_any_shape(given: Any) -> None:
    async with gateway(talker("Yes.")) as found:
        assert (await realtime(found.url).ainvoke(given)).text == "Yes."


async def test_an_async_iterable_may_be_the_one_input() -> None:
    async with gateway(talker("Yes.")) as found:
        said = [chunk.text async for chunk in realtime(found.url).astream(stream_of(LOUD))]
    assert "".join(said) == "Yes."


async def test_a_model_with_nothing_to_say_is_not_waited_for_longer_than_set() -> None:
    async with gateway(talker()) as found:
        await realtime(found.url, answer_within=3).ainvoke(QUIET)
    assert [frame["type"] for frame in found.peers[0].heard] == [
        "session.init",
        *["input.append"] * 4,
        "session.close",
    ]


async def test_a_short_rest_is_completed_with_silence() -> None:
    async with gateway(talker("Yes.")) as found:
        await realtime(found.url).ainvoke(LOUD + LOUD[:320])
    units = [frame for frame in found.peers[0].heard if frame["type"] == "input.append"]
    sent = array("f", base64.b64decode(units[1]["input"]["audio"]))
    assert (len(sent), sent[159] > 0, sent[160]) == (16_000, True, 0.0)


async def test_pictures_go_with_the_sound() -> None:
    picture = io.BytesIO()
    Image.new("RGB", (32, 24), "red").save(picture, "JPEG")
    async with gateway(talker("Red.")) as found:
        frames = stream_of((LOUD, picture.getvalue()), (QUIET, Image.new("RGB", (32, 24), "blue")))
        total = await realtime(found.url, mode="video").ainvoke(frames)
    assert total.text == "Red."
    units = [frame["input"] for frame in found.peers[0].heard if frame["type"] == "input.append"]
    shown = [len(unit.get("video_frames", ())) for unit in units]
    assert shown[:2] == [1, 1]
    assert set(shown[2:]) <= {0}


async def test_an_interruption_in_the_input_breaks_the_model_off() -> None:
    heard = asyncio.Event()

    async def conversation() -> AsyncGenerator[Any, None]:
        yield LOUD
        yield QUIET
        await heard.wait()
        yield RealtimeInput(audio=QUIET, interrupt=1)

    async with gateway(talker("One two three four five.")) as found:
        total = RealtimeChunk()
        async for chunk in realtime(found.url).astream(conversation()):
            total += chunk
            if isinstance(chunk.event, TextDelta):
                heard.set()
    assert any(isinstance(event, ResponseInterrupted) for event in total.events)
    assert total.turns[0].interrupted
    assert "five" not in total.text
    assert any(frame.get("input", {}).get("force_listen") for frame in found.peers[0].heard)


async def test_what_is_set_is_sent_and_can_be_bound() -> None:
    async with gateway(talker()) as found:
        runnable = realtime(found.url, system_prompt="Be brief.", config={"top_k": 3}, answer_within=0)
        await runnable.ainvoke(QUIET)
        await runnable.bind(system_prompt="Be long.").ainvoke(QUIET)
    first, second = (peer.heard[0]["payload"] for peer in found.peers)
    assert first == {"system_prompt": "Be brief.", "config": {"top_k": 3}}
    assert second == {"system_prompt": "Be long.", "config": {"top_k": 3}}


async def test_runs_beside_each_other_are_sessions_of_their_own() -> None:
    async with gateway(talker("One."), talker("Two."), talker("Three.")) as found:
        totals = await realtime(found.url).abatch([LOUD] * 3)
    assert {total.text for total in totals} == {"One.", "Two.", "Three."}


async def test_another_session_takes_over_and_each_second_is_heard_once() -> None:
    async def conversation() -> AsyncGenerator[bytes, None]:
        for piece in (LOUD, QUIET, LOUD, QUIET, QUIET):
            yield piece

    async with gateway(cut_short, talker("Yes.")) as found:
        total = await realtime(found.url, on_limit="rollover").ainvoke(conversation())
    first, second = found.peers
    assert [type(event) for event in total.events].count(SessionReplaced) == 1
    assert [(turn.text, turn.interrupted) for turn in total.turns] == [("Half ", True), ("Yes.", False)]
    assert [frame["input"]["input_id"] for frame in first.heard[1:]] == ["in_1", "in_2", "in_3"]
    assert [frame["input"]["input_id"] for frame in second.heard[1:4]] == ["in_3", "in_4", "in_5"]
    assert loudness(second.heard[1]) > 0.1


async def test_an_agent_is_not_given_what_a_takeover_broke_off() -> None:
    async def conversation() -> AsyncGenerator[bytes, None]:
        for piece in (LOUD, QUIET, LOUD, QUIET, QUIET):
            yield piece

    async with gateway(cut_short, talker("Yes.")) as found:
        chain = realtime(found.url, on_limit="rollover") | each_turn(lambda text: f"<{text}>")
        assert [piece async for piece in chain.astream(conversation())] == ["<Yes.>"]


@pytest.mark.parametrize("fault", ["", "error=inference_failed; at=2"])
async def test_the_first_generation_is_heard_out_too(minicpm_emulator_factory: EmulatorFactory, fault: str) -> None:
    server = minicpm_emulator_factory(realtime=RealtimeEmulation(generation=1, fault=fault))
    client = RealtimeClient(base_url=server.realtime_url, generation=1)
    total = await MiniCPMRealtime(client, answer_within=5).ainvoke([QUIET, QUIET, QUIET, LOUD])
    assert "I heard 1 second of sound" in total.text
    assert [turn.interrupted for turn in total.turns] == [False]


# --- The pipeline -----------------------------------------------------------------------------------------------------


async def test_an_agent_consumes_the_text_of_each_turn() -> None:
    async def conversation() -> AsyncGenerator[bytes, None]:
        for _ in range(2):
            yield LOUD
            for _ in range(4):
                yield QUIET

    async with gateway(talker("The first.", "The second.")) as found:
        chain = realtime(found.url, answer_within=1) | each_turn(lambda text: f"<{text}>")
        assert [piece async for piece in chain.astream(conversation())] == ["<The first.>", "<The second.>"]


async def test_an_agents_stream_is_streamed_on_and_its_runs_are_children() -> None:
    async def spell(texts: AsyncIterator[str]) -> AsyncIterator[str]:
        async for text in texts:
            for letter in text:
                yield letter

    from langchain_core.runnables import RunnableGenerator

    tracer = Tracer()
    async with gateway(talker("Hm.")) as found:
        chain = realtime(found.url) | each_turn(RunnableGenerator(spell, name="spell"), stream=True)
        pieces = [piece async for piece in chain.astream(stream_of(LOUD), {"callbacks": [tracer], "tags": ["t"]})]
    assert pieces == ["H", "m", "."]
    names = [about["name"] for _, about in tracer.started]
    assert sorted(names) == ["MiniCPMRealtime", "RunnableSequence", "each_turn", "spell"]
    assert all("t" in about["tags"] for _, about in tracer.started)


async def test_a_broken_off_turn_is_not_consumed_unless_asked_for() -> None:
    cut = [
        RealtimeChunk(TextDelta(text="Half", response_id="r1")),
        RealtimeChunk(ResponseInterrupted(response_id="r1")),
    ]
    assert [text async for text in each_turn(str).atransform(stream_of(*cut))] == []
    assert [text async for text in each_turn(str, interrupted=True).atransform(stream_of(*cut))] == ["Half"]


async def test_a_transcript_has_a_line_for_each_turn() -> None:
    async with gateway(talker("Hello there.")) as found:
        chain = realtime(found.url) | transcript()
        pieces = [piece async for piece in chain.astream(stream_of(LOUD))]
    assert pieces == ["Hello ", "there.", "\n"]


async def test_steps_that_come_after_something_else_say_so() -> None:
    for step in (transcript(), each_turn(str)):
        with pytest.raises(InvalidInputError, match="comes after MiniCPMRealtime"):
            await step.ainvoke("Hello")


async def test_an_agent_that_fails_ends_the_session() -> None:
    def fail(text: str) -> str:
        raise ZeroDivisionError(text)

    async with gateway(talker("Hm.")) as found:
        with pytest.raises(ZeroDivisionError):
            async for _ in (realtime(found.url) | each_turn(fail)).astream(stream_of(LOUD)):
                pass
        await found.peers[0].socket.wait_closed()


# --- What LangChain shows ---------------------------------------------------------------------------------------------


async def test_a_trace_has_the_words_and_no_sound() -> None:
    tracer = Tracer()
    async with gateway(talker("Hello there.")) as found:
        config: Any = {"callbacks": [tracer], "tags": ["a"], "metadata": {"who": "me"}, "run_name": "talk"}
        await realtime(found.url).ainvoke(LOUD, config)
    ((inputs, about),) = tracer.started
    assert (inputs, about["name"], about["tags"], about["metadata"]["who"]) == ({"input": ""}, "talk", ["a"], "me")
    assert tracer.ended == [{"turns": [{"text": "Hello there.", "audio_seconds": 0.2, "interrupted": False}]}]
    assert tracer.failed == []


async def test_a_trace_has_sound_where_that_is_wanted() -> None:
    tracer = Tracer()
    async with gateway(talker("Yes.")) as found:
        await realtime(found.url, trace_audio=True).ainvoke(LOUD, {"callbacks": [tracer]})
    assert tracer.ended[0]["turns"][0]["audio_wav"][:4] == b"RIFF"


async def test_a_pipelines_trace_has_no_sound_either() -> None:
    tracer = Tracer()
    async with gateway(talker("Yes.")) as found:
        same: RunnableLambda[Any, Any] = RunnableLambda(lambda chunk: chunk)
        chain = realtime(found.url) | same
        async for _ in chain.astream(stream_of(LOUD), {"callbacks": [tracer]}):
            pass
    shown = dumps_json([[inputs for inputs, _ in tracer.started], tracer.ended]).decode()
    assert "Yes." in shown
    assert base64.b64encode(SPOKEN).decode()[:80] not in shown
    assert "sess_1" not in shown


async def test_astream_events_gives_each_event_once() -> None:
    async with gateway(talker("Hello there.")) as found:
        chain = realtime(found.url) | transcript()
        seen = [event async for event in chain.astream_events(stream_of(LOUD), version="v2")]
    streamed = [event for event in seen if event["event"] == "on_chain_stream"]
    events = [cast("Any", event["data"].get("chunk")).event for event in streamed if event["name"] == "MiniCPMRealtime"]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Hello ", "there."]
    assert len([event for event in events if isinstance(event, AudioDelta)]) == 2
    (ended,) = [event for event in seen if event["event"] == "on_chain_end" and event["name"] == "MiniCPMRealtime"]
    assert ended["data"].get("output") == {
        "turns": [{"text": "Hello there.", "audio_seconds": 0.2, "interrupted": False}]
    }


# --- Ends -------------------------------------------------------------------------------------------------------------


async def test_leaving_early_says_goodbye() -> None:
    async with gateway(talker()) as found:

        async def microphone() -> AsyncGenerator[bytes, None]:
            while True:
                yield QUIET
                await asyncio.sleep(0)

        async with aclosing(realtime(found.url).astream(microphone())) as stream:
            async for chunk in stream:
                if isinstance(chunk.event, Listen):
                    break
        await found.peers[0].socket.wait_closed()
    assert found.peers[0].heard[-1]["type"] == "session.close"


async def test_cancelling_cuts_the_connection_and_closes_the_source() -> None:
    closed = asyncio.Event()
    begun = asyncio.Event()

    async def microphone() -> AsyncGenerator[bytes, None]:
        try:
            yield QUIET
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def use(url: str) -> None:
        async for chunk in realtime(url).astream(microphone()):
            if isinstance(chunk.event, Listen):
                begun.set()

    async with gateway(talker()) as found:
        task = asyncio.create_task(use(found.url))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await found.peers[0].socket.wait_closed()
    assert closed.is_set()


async def test_a_source_that_fails_ends_the_session_and_is_told() -> None:
    async def microphone() -> AsyncGenerator[bytes, None]:
        yield QUIET
        raise OSError("unplugged")

    async with gateway(talker()) as found:
        with pytest.raises(OSError, match="unplugged"):
            await realtime(found.url).ainvoke(microphone())
    assert found.peers[0].heard[-1]["type"] == "session.close"


@pytest.mark.parametrize("given", ["text", 3, (1, 2, 3), [object()], b"odd"])
async def test_what_is_no_sound_is_refused(given: Any) -> None:
    async with gateway(talker()) as found:
        with pytest.raises(InvalidInputError) as caught:
            await realtime(found.url).ainvoke(given)
    assert isinstance(caught.value, ModelInvalidRequestError)


async def test_a_lost_connection_is_an_error_of_both_libraries() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.hear("input.append")
        peer.socket.transport.abort()

    tracer = Tracer()
    async with gateway(script) as found:
        with pytest.raises(errors.ConnectionLostError) as caught:
            await realtime(found.url).ainvoke(LOUD, {"callbacks": [tracer]})
    assert isinstance(caught.value, ModelConnectionError)
    assert caught.value.close_code == 1006
    assert tracer.failed == [caught.value]


def test_each_error_of_realtime_sessions_has_its_class() -> None:
    from langchain_minicpm._realtime_errors import REALTIME_CLASSES

    own = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)}
    ours = {error for error in own if error.__module__ == errors.__name__}
    assert ours <= set(REALTIME_CLASSES)
    assert all(issubclass(made, base) for base, made in REALTIME_CLASSES.items())


@pytest.mark.parametrize("method", ["invoke", "stream", "transform", "batch"])
def test_without_asyncio_it_refuses(method: str) -> None:
    with pytest.raises(UnsupportedFeatureError, match="needs asyncio"):
        getattr(MiniCPMRealtime("ws://127.0.0.1:1"), method)([LOUD])


@pytest.mark.parametrize(
    "settings", [{"mode": "chat"}, {"mode": "radio"}, {"answer_within": -1}, {"client": "http://"}], ids=str
)
def test_impossible_settings_are_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        MiniCPMRealtime(**settings)


async def test_while_nobody_takes_what_comes_little_is_read_from_the_source() -> None:
    given = 0

    async def microphone() -> AsyncGenerator[bytes, None]:
        nonlocal given
        while True:
            given += 1
            yield QUIET

    async def stalled(peer: Peer) -> None:
        await peer.begin()
        await peer.socket.wait_closed()  # and reads nothing

    async with gateway(stalled) as found:
        async with aclosing(realtime(found.url).astream(microphone())) as stream:
            async for chunk in stream:
                if isinstance(chunk.event, SessionCreated):
                    break
            before = -1
            while before != given:  # until the socket's buffers are full
                before = given
                await asyncio.wait([asyncio.create_task(asyncio.sleep(0.2))])
        assert given < 400


# --- Chunks -----------------------------------------------------------------------------------------------------------


def test_chunks_add_up_in_order_and_keep_their_parts() -> None:
    first, second, third = (RealtimeChunk(TextDelta(text=text, response_id="r1")) for text in "abc")
    both = first + second
    assert (both + third).text == "abc"
    assert (both.text, first.text) == ("ab", "a")
    assert (first + (second + third)).events == (both + third).events
    assert (both + RealtimeChunk()).event == second.event
    assert pickle.loads(pickle.dumps(both)) == both
    assert hash(RealtimeChunk(Listen())) == hash(RealtimeChunk(Listen()))
    with pytest.raises(TypeError):
        _ = both + "c"


def test_adding_up_an_hour_copies_no_sound_and_does_not_recurse() -> None:
    total = RealtimeChunk()
    piece = RealtimeChunk(AudioDelta(audio=bytes(96_000), response_id="r1"))
    began = time.process_time()
    for _ in range(100_000):
        total += piece
    assert len(total.events) == 100_000
    del total
    assert time.process_time() - began < 20  # copying would take hours, and memory that nobody has


def test_chunks_show_neither_sound_nor_session_ids() -> None:
    chunk = RealtimeChunk(SessionCreated(session_id="sess_secret"), AudioDelta(audio=SPOKEN, response_id="r1"))
    shown = [repr(chunk), json.dumps(chunk.to_dict()), dumps_json(chunk).decode()]
    assert not any("secret" in text or "PgAA" in text for text in shown)
    assert shown[0] == "RealtimeChunk(2 events, audio_seconds=0.1)"
    given = RealtimeInput(audio=LOUD)
    assert len(dumps_json(given)) < 200
    assert len(repr(given)) < 200


def test_the_talker_hears_loudness() -> None:
    assert loudness({"input": {"audio": base64.b64encode(SPOKEN).decode()}}) == 0.25
