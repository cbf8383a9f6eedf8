"""Sessions of mode `chat`: questions, and each with its own answer, streamed or whole."""

from __future__ import annotations

import asyncio
import base64
from array import array
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.errors import InvalidInputError, UnsupportedFeatureError
from minicpm_core.realtime import (
    ChatAppend,
    ChatMessage,
    ChatPart,
    ConnectionLostError,
    Metrics,
    RealtimeClient,
    RealtimeError,
    RealtimeTimeoutError,
    RealtimeTimeouts,
    ResponseDone,
    SessionStateError,
    SessionTimeLimitError,
    TextDelta,
    Turn,
    UnknownEvent,
)
from minicpm_core.realtime.client_events import QuestionOptions
from tests.realtime.gateway import Gateway, Peer, gateway

if TYPE_CHECKING:
    from minicpm_core.emulator import EmulatorServer
    from minicpm_core.realtime import RealtimeSession

_SPEECH = array("f", [0.25] * 2400).tobytes()
SPEECH = base64.b64encode(_SPEECH).decode()


pytestmark = pytest.mark.usefixtures("no_task_is_left")


def chat_with(found: Gateway, **settings: Any) -> RealtimeSession:
    return RealtimeClient(base_url=found.url, max_retries=0, **settings).session(mode="chat")


async def echo(peer: Peer, asked: dict[str, Any], *, named: bool = True) -> None:
    """Answer a question with its own words, one by one."""
    question = asked["input"]
    text: str = question["messages"][-1]["content"]
    about = {"response_id": f"r {text}", **({"input_id": question["input_id"]} if named else {})}
    for word in text.split():
        await peer.delta("text", text=f"{word} ", **about)
    await peer.say("response.done", text=f"{text} ", reason="turn_end", metrics={"kv_cache_length": 7}, **about)


async def echoing(peer: Peer, *, named: bool = True) -> None:
    await peer.begin()
    while (asked := await peer.hear())["type"] != "session.close":
        await echo(peer, asked, named=named)
    await peer.say("session.closed", reason="user_stop")


async def anonymous(peer: Peer) -> None:
    await echoing(peer, named=False)


async def test_a_whole_answer_is_one_value() -> None:
    async with gateway(echoing) as found, chat_with(found) as session:
        turn = await session.ask([ChatMessage("system", "Be brief."), ChatMessage("user", "one two")], max_new_tokens=8)
    assert turn == Turn(
        response_id="r one two", text="one two ", audio=b"", reason="turn_end", metrics=Metrics(kv_cache_length=7)
    )
    asked = found.peers[0].heard[1]["input"]
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    assert asked["generation"] == {"max_new_tokens": 8}


async def test_an_answer_is_streamed_to_its_end_and_another_question_follows() -> None:
    async with gateway(echoing) as found, chat_with(found) as session:
        for text in ("one two", "three"):
            *pieces, done = [event async for event in session.chat(text)]
            assert [piece.text for piece in pieces if isinstance(piece, TextDelta)] == [f"{w} " for w in text.split()]
            assert isinstance(done, ResponseDone)
            assert done.text == f"{text} "


@pytest.mark.parametrize("script", [echoing, anonymous])
async def test_the_rest_of_a_stream_that_was_left_is_not_taken_for_the_next_answer(script: Any) -> None:
    async with gateway(script) as found, chat_with(found) as session:
        async for event in session.chat("one two three"):
            assert isinstance(event, TextDelta)
            break
        assert (await session.ask("four")).text == "four "
        assert [type(event) async for event in session.chat("five")] == [TextDelta, ResponseDone]


@pytest.mark.parametrize("named", [True, False])
async def test_a_question_that_was_given_up_is_not_answered_in_place_of_the_next(*, named: bool) -> None:
    asked, given_up = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.begin()
        first = await peer.hear("input.append")
        asked.set()
        await given_up.wait()
        second = await peer.hear("input.append")
        await echo(peer, first, named=named)
        await echo(peer, second, named=named)
        await peer.hear("session.close")
        await peer.say("session.closed", reason="user_stop")

    async with gateway(script) as found, chat_with(found) as session:
        asking = asyncio.create_task(session.ask("one"))
        await asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        given_up.set()
        assert (await session.ask("two")).text == "two "


async def test_who_asks_at_the_same_time_waits_and_gets_the_answer_to_the_own_question() -> None:
    async with gateway(anonymous) as found, chat_with(found) as session:
        turns = await asyncio.gather(*(session.ask(f"number {number}") for number in range(5)))
    assert [turn.text for turn in turns] == [f"number {number} " for number in range(5)]


async def test_two_tasks_do_not_read_at_once() -> None:
    asked, refused = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.begin()
        first = await peer.hear("input.append")
        asked.set()
        await refused.wait()
        await echo(peer, first)
        await peer.hear("input.append")
        await peer.hear("session.close")
        await peer.say("session.closed", reason="user_stop")

    async with gateway(script) as found, chat_with(found) as session:
        asking = asyncio.create_task(session.ask("one"))
        await asked.wait()
        with pytest.raises(SessionStateError, match="Another task"):
            await anext(session.chat("two"))
        refused.set()
        assert (await asking).text == "one "


async def test_a_stream_that_was_overtaken_says_so() -> None:
    async with gateway(echoing) as found, chat_with(found) as session:
        left = session.chat("one two three")
        await anext(left)
        await session.ask("four")
        with pytest.raises(SessionStateError, match="passed over"):
            await anext(left)


async def test_a_spoken_answer_has_its_sound_streamed_or_not() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        for _ in range(2):
            asked = (await peer.hear("input.append"))["input"]
            about = {"input_id": asked["input_id"], "response_id": "r"}
            if asked["streaming"]:
                await peer.delta("text", text="Hi", **about)
                await peer.delta("audio", audio=SPEECH, **about)
            assert asked["tts"]["enabled"]
            await peer.say("response.done", text="Hi", **about, **({} if asked["streaming"] else {"audio": SPEECH}))
        await peer.hear("session.close")
        await peer.say("session.closed", reason="user_stop")

    async with gateway(script) as found, chat_with(found) as session:
        for streaming in (True, False):
            turn = await session.ask("Say hi.", speak=True, streaming=streaming)
            assert (turn.text, turn.audio) == ("Hi", _SPEECH)


async def test_the_end_of_an_answer_need_not_name_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        await peer.hear("input.append")
        await peer.delta("text", text="Hi", response_id="r")
        await peer.say("response.done")
        await peer.hear("session.close")
        await peer.say("session.closed", reason="user_stop")

    async with gateway(script) as found, chat_with(found) as session:
        turn = await session.ask("Say hi.")
    assert (turn.response_id, turn.text) == ("r", "Hi")


async def test_what_nobody_knows_is_handed_on_with_the_answer_that_it_belongs_to() -> None:
    async def script(peer: Peer) -> None:
        await peer.begin()
        first = await peer.hear("input.append")
        await peer.say("response.think.delta", thought="hm", input_id=first["input"]["input_id"])
        await echo(peer, first)
        await peer.hear("session.close")
        await peer.say("session.closed", reason="user_stop")

    async with gateway(script) as found, chat_with(found) as session:
        seen = [event async for event in session.chat("one")]
    assert isinstance(seen[0], UnknownEvent)
    assert (seen[0].type, seen[0].extra["thought"]) == ("response.think.delta", "hm")


# --- Ends -------------------------------------------------------------------------------------------------------------


async def begun(peer: Peer) -> None:
    await peer.begin()
    asked = await peer.hear("input.append")
    await peer.delta("text", text="Hal", input_id=asked["input"]["input_id"])


async def test_an_answer_that_stalls_halfway_is_noticed() -> None:
    async def script(peer: Peer) -> None:
        await begun(peer)
        await peer.socket.wait_closed()

    async with gateway(script) as found:
        with pytest.raises(RealtimeTimeoutError) as caught:
            async with chat_with(found, timeouts=RealtimeTimeouts(idle=0.2)) as session:
                await session.ask("one")
    assert caught.value.phase == "idle"


async def test_an_answer_that_is_cut_off_is_no_answer() -> None:
    async def script(peer: Peer) -> None:
        await begun(peer)
        peer.socket.transport.abort()

    async with gateway(script) as found:
        with pytest.raises(ConnectionLostError):
            async with chat_with(found) as session:
                await session.ask("one")


async def test_an_answer_that_its_own_side_closes_is_none_either() -> None:
    there = asyncio.Event()

    async def script(peer: Peer) -> None:
        await begun(peer)
        there.set()
        await peer.hear("session.close")
        await peer.say("session.closed", reason="user_stop")

    async with gateway(script) as found, chat_with(found) as session:
        asking = asyncio.create_task(session.ask("one"))
        await there.wait()
        await session.close()
        with pytest.raises(RealtimeError, match="before the answer was complete"):
            await asking
        with pytest.raises(SessionStateError, match="closed"):
            await session.ask("two")


async def test_a_chat_that_the_server_ends_is_not_replaced_as_its_question_would_be_lost() -> None:
    async def script(peer: Peer) -> None:
        await begun(peer)
        await peer.say("session.closed", reason="timeout")

    async with gateway(script) as found:
        client = RealtimeClient(base_url=found.url)
        with pytest.raises(SessionTimeLimitError):
            async with client.session(mode="chat", on_limit="rollover") as session:
                await session.ask("one")
    assert len(found.peers) == 1


NOT_A_PART: Any = b"Hi"
NO_CONTENT: Any = ChatPart(type="text", text="Hi")


@pytest.mark.parametrize(
    "messages",
    [[], [{"role": "user", "content": "Hi"}], [ChatMessage("user", [NOT_A_PART])], ChatMessage("user", NO_CONTENT)],
    ids=["none", "dict", "bytes", "part"],
)
async def test_what_is_no_question_is_refused_and_the_chat_goes_on(messages: Any) -> None:
    async with gateway(echoing) as found, chat_with(found) as session:
        with pytest.raises(InvalidInputError):
            await session.ask(messages)
        assert (await session.ask("one")).text == "one "
    assert len(found.peers[0].heard) == 3


async def test_sound_is_not_for_chats_and_questions_are_for_nothing_else() -> None:
    async with gateway(echoing, echoing) as found:
        async with chat_with(found) as session:
            with pytest.raises(SessionStateError, match="mode 'chat'"):
                await session.send_audio(bytes(32_000))
        async with RealtimeClient(base_url=found.url).session() as session:
            with pytest.raises(SessionStateError, match="mode 'audio'"):
                await session.ask("one")


def test_every_field_of_a_question_can_be_given_by_name() -> None:
    assert QuestionOptions.__annotations__.keys() | {"messages", "input_id"} == {
        each.name for each in fields(ChatAppend)
    }


def test_the_first_generation_has_no_chat() -> None:
    with pytest.raises(UnsupportedFeatureError):
        RealtimeClient(generation=1).session(mode="chat")


async def test_the_emulator_answers_streamed_and_whole(minicpm_emulator: EmulatorServer) -> None:
    client = RealtimeClient(base_url=minicpm_emulator.realtime_url)
    async with client.session(mode="chat") as session:
        streamed = [event async for event in session.chat("Count to 5.")]
        assert "".join(event.text for event in streamed if isinstance(event, TextDelta)) == "1 2 3 4 5"
        spoken = await session.ask("Count to 5.", speak=True, streaming=False)
    assert (spoken.text, spoken.reason, spoken.interrupted) == ("1 2 3 4 5", "turn_end", False)
    assert len(spoken.audio) > 4 * 20_000
