"""The voice agent on a loopback gateway."""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from llama_index.core.base.llms.types import AudioBlock, ChatMessage, MessageRole
from llama_index.core.tools import FunctionTool
from llama_index.core.voice_agents import BaseVoiceAgent, BaseVoiceAgentInterface, BaseVoiceAgentWebsocket
from PIL import Image

from llama_index_minicpm.voice_agent import (
    MiniCPMVoiceAgent,
    MiniCPMVoiceAgentWebsocket,
    MiniCPMVoiceEvent,
    QueueVoiceInterface,
    SoundDeviceVoiceInterface,
)
from minicpm_core.errors import ConfigurationError, InvalidInputError, UnsupportedFeatureError
from minicpm_core.realtime import errors
from minicpm_core.realtime.client import RealtimeClient
from minicpm_core.realtime.events import (
    AudioDelta,
    ErrorEvent,
    Listen,
    ResponseInterrupted,
    SessionReplaced,
    TextDelta,
    UnknownEvent,
)
from tests.realtime.gateway import Gateway, Peer, gateway
from tests.realtime.talker import LOUD, QUIET, SPOKEN, cut_short, talker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


pytestmark = pytest.mark.usefixtures("no_task_is_left")


class Told:
    """Awaits messages."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[ChatMessage] = asyncio.Queue()

    async def __call__(self, message: ChatMessage) -> None:
        await self.messages.put(message)


def agent_of(found: Gateway, **settings: Any) -> MiniCPMVoiceAgent:
    return MiniCPMVoiceAgent(ws_url=found.url, **settings)


async def ask(agent: MiniCPMVoiceAgent, seconds: int) -> None:
    """A question, and silence in which it is answered."""
    await agent.send(LOUD)
    await agent.send(QUIET * seconds)


async def test_each_turn_of_the_models_is_one_message_without_sound() -> None:
    told = Told()
    async with gateway(talker("Hello there.", "Good bye.")) as found:
        async with agent_of(found, on_message=told) as agent:
            for _ in range(2):
                await ask(agent, 3)
                await told.messages.get()
        messages = agent.export_messages()
    assert [message.content for message in messages] == ["Hello there.", "Good bye."]
    assert {message.role for message in messages} == {MessageRole.ASSISTANT}
    assert all(len(message.blocks) == 1 for message in messages)
    assert messages[0].additional_kwargs == {"response_id": "r1", "interrupted": False}
    assert agent.export_messages(limit=1) == messages[:1]
    assert agent.export_messages(filter=lambda some: some[1:]) == messages[1:]


async def test_sound_is_kept_where_that_is_wanted() -> None:
    told = Told()
    async with gateway(talker("Yes.")) as found, agent_of(found, on_message=told, keep_audio=True) as agent:
        await ask(agent, 2)
        message = await told.messages.get()
    _, sound = message.blocks
    assert isinstance(sound, AudioBlock)
    assert sound.resolve_audio().read()[:4] == b"RIFF"
    kept = [event for event in agent.export_events() if event.type_t == "audio_delta"]
    assert isinstance(kept[0], MiniCPMVoiceEvent)
    assert kept[0].audio == SPOKEN
    assert base64.urlsafe_b64decode(kept[0].model_dump(mode="json")["audio"]) == SPOKEN


async def test_events_are_exported_without_sound_and_without_session_ids() -> None:
    told = Told()
    async with gateway(talker("Yes.")) as found, agent_of(found, on_message=told) as agent:
        await ask(agent, 2)
        await told.messages.get()
    events = agent.export_events()
    shown = [event.model_dump(by_alias=True, exclude_none=True) for event in events]
    assert [event["type"] for event in shown][1:] == [
        "session_created",
        "listen",
        "text_delta",
        "audio_delta",
        "listen",
    ]
    assert shown[3] == {"type": "text_delta", "response_id": "r1", "text": "Yes."}
    assert shown[4] == {"type": "audio_delta", "response_id": "r1", "audio_seconds": 0.1}
    assert "sess_1" not in str(events)


async def test_what_nobody_knows_is_among_the_events_by_its_name() -> None:
    agent = MiniCPMVoiceAgent(ws_url="ws://127.0.0.1:1")
    await agent.handle_message(UnknownEvent(type="session.novelty", extra={"session_id": "sess_1"}))
    await agent.handle_message(ErrorEvent(code="inference_failed", message="it broke"))
    unknown, error = (event.model_dump(by_alias=True, exclude_none=True) for event in agent.export_events())
    assert unknown == {"type": "unknown_event", "name": "session.novelty"}
    assert error == {"type": "error_event", "name": "inference_failed", "text": "it broke"}


async def test_the_oldest_events_are_forgotten() -> None:
    told = Told()
    async with gateway(talker("Yes.")) as found, agent_of(found, on_message=told, max_events=2) as agent:
        await ask(agent, 2)
        await told.messages.get()
    assert [event.type_t for event in agent.export_events()] == ["audio_delta", "listen"]


async def test_sound_goes_through_the_interface_both_ways() -> None:
    interface = QueueVoiceInterface()
    told = Told()
    async with gateway(talker("Hello there.")) as found:
        async with agent_of(found, interface=interface, on_message=told):
            for piece in (LOUD[:7000], LOUD[7000:], np.zeros(16_000 * 3, "f4")):
                await interface.put(piece)
            await told.messages.get()
        assert [piece async for piece in interface.heard()] == [SPOKEN] * 2
    assert interface.dropped == 0


async def test_what_nobody_hears_makes_room_and_is_counted() -> None:
    interface = QueueVoiceInterface(max_out=2)
    for number in range(5):
        interface.receive(bytes([number]))
    interface.stop()
    assert [piece async for piece in interface.heard()] == [b"\x04"]
    assert interface.dropped == 3
    interface.start()
    assert interface.dropped == 0


async def test_a_microphone_that_is_too_fast_waits() -> None:
    interface = QueueVoiceInterface(max_in=1)
    await interface.put(LOUD)
    second = asyncio.create_task(interface.put(QUIET))
    given = interface.output()
    assert await anext(given) == LOUD
    assert await anext(given) == QUIET
    await second
    await given.aclose()


async def test_an_interruption_drops_what_waits_and_is_in_the_history() -> None:
    interface = QueueVoiceInterface()
    told = Told()
    five = gateway(talker("One two three four five."))
    async with five as found, agent_of(found, interface=interface, on_message=told) as agent:
        await ask(agent, 1)
        heard = interface.heard()
        assert await anext(heard) == SPOKEN
        await agent.interrupt()
        await agent.send(QUIET)
        message = await told.messages.get()
    assert message.content == "One "
    assert message.additional_kwargs["interrupted"]
    assert found.peers[0].heard[-2]["input"]["force_listen"] is True
    await heard.aclose()


async def test_another_session_takes_over_and_its_turns_are_messages_of_their_own() -> None:
    interface = QueueVoiceInterface()
    told = Told()
    async with gateway(cut_short, talker("Yes.")) as found:
        async with agent_of(found, interface=interface, on_message=told, on_limit="rollover") as agent:
            interface.receive(SPOKEN)  # which waits to be played, when the session is replaced
            await agent.send(LOUD + QUIET + LOUD + QUIET * 3)
            for _ in range(2):
                await told.messages.get()
        heard = [piece async for piece in interface.heard()]
    messages = agent.export_messages()
    assert [message.content for message in messages] == ["Half ", "Yes."]
    assert [message.additional_kwargs["interrupted"] for message in messages] == [True, False]
    assert len({message.additional_kwargs["response_id"] for message in messages}) == 1  # a name may come again
    assert "session_replaced" in [event.type_t for event in agent.export_events()]
    assert heard == [SPOKEN]
    assert len(found.peers) == 2


async def test_a_takeover_lets_what_was_said_to_its_end_be_heard() -> None:
    interface = QueueVoiceInterface()
    agent = MiniCPMVoiceAgent(ws_url="ws://127.0.0.1:1", interface=interface)
    for event in (
        AudioDelta(audio=SPOKEN, response_id="r1"),
        Listen(response_id="r1"),
        SessionReplaced(reason="time_limit", number=1, lasted_s=570.0),
    ):
        await agent.handle_message(event)
    interface.stop()
    assert [piece async for piece in interface.heard()] == [SPOKEN]


async def test_a_turn_that_the_end_breaks_off_is_a_message() -> None:
    interface = QueueVoiceInterface()
    async with gateway(talker("One two three.")) as found, agent_of(found, interface=interface) as agent:
        await ask(agent, 1)
        heard = interface.heard()
        await anext(heard)
        await heard.aclose()
    (message,) = agent.export_messages()
    assert message.content == "One "
    assert message.additional_kwargs["interrupted"]


async def test_sound_after_the_end_of_a_turn_belongs_to_its_message() -> None:
    agent = MiniCPMVoiceAgent(ws_url="ws://127.0.0.1:1", keep_audio=True)
    for event in (
        TextDelta(text="Yes.", response_id="r1"),
        Listen(response_id="r1"),
        AudioDelta(audio=SPOKEN, response_id="r1"),
        Listen(response_id="r1"),
        TextDelta(text="No.", response_id="r2"),
        ResponseInterrupted(response_id="r2"),
    ):
        await agent.handle_message(event)
    first, second = agent.export_messages()
    assert (first.content, len(first.blocks)) == ("Yes.", 2)
    assert (second.content, second.additional_kwargs["interrupted"]) == ("No.", True)


async def test_pictures_are_shown() -> None:
    async with gateway(talker()) as found, agent_of(found, mode="video") as agent:
        await agent.send_frame(Image.new("RGB", (16, 16), "red"))
        await agent.send(QUIET)
        await agent.flush()
    assert len(found.peers[0].heard[1]["input"]["video_frames"]) == 1


async def test_an_agent_can_be_started_again_and_remembers() -> None:
    told = Told()
    async with gateway(talker("One."), talker("Two.")) as found:
        agent = agent_of(found, on_message=told)
        for _ in range(2):
            await agent.start()
            await ask(agent, 2)
            await told.messages.get()
            await agent.stop()
        await agent.stop()  # once more does nothing
    assert [message.content for message in agent.export_messages()] == ["One.", "Two."]


async def test_one_that_runs_is_not_started_again_and_one_that_does_not_sends_nothing() -> None:
    async with gateway(talker()) as found:
        agent = agent_of(found)
        for refused in (agent.send(QUIET), agent.interrupt(), agent.send_frame(b"")):
            with pytest.raises(errors.SessionStateError, match=r"`start\(\)`"):
                await refused
        await agent.wait()
        async with agent:
            with pytest.raises(errors.SessionStateError, match="started already"):
                await agent.start()


async def _dies(peer: Peer) -> None:
    await peer.begin()
    await peer.hear("input.append")
    peer.socket.transport.abort()


async def test_a_lost_connection_is_told_once() -> None:
    async with gateway(_dies) as found:
        agent = agent_of(found)
        await agent.start()
        await agent.send(QUIET)
        with pytest.raises(errors.ConnectionLostError):
            await agent.wait()
        with pytest.raises(errors.ConnectionLostError):
            await agent.send(QUIET)
        await agent.stop()


async def test_a_lost_connection_that_nobody_waited_for_is_told_at_the_end() -> None:
    async with gateway(_dies) as found:
        agent = agent_of(found)
        await agent.start()
        await agent.send(QUIET)
        await found.peers[0].socket.wait_closed()
        with pytest.raises(errors.ConnectionLostError):
            await agent.stop()


async def test_a_session_that_does_not_begin_leaves_nothing() -> None:
    async def refuse(peer: Peer) -> None:
        await peer.say("error", error={"code": "queue_full", "message": "m", "type": "server_error"})
        await peer.socket.close(1013)

    async with gateway(refuse, refuse, talker()) as found:
        client = RealtimeClient(base_url=found.url, max_retries=0)
        agent = MiniCPMVoiceAgent(MiniCPMVoiceAgentWebsocket(client=client))
        for _ in range(2):
            with pytest.raises(errors.QueueFullError):
                await agent.start()
        async with agent:
            pass


@pytest.mark.parametrize("wrong", ["words", object()], ids=["text", "object"])
async def test_a_microphone_that_gives_no_sound_ends_the_session_and_is_told(wrong: Any) -> None:
    interface = QueueVoiceInterface()
    async with gateway(talker()) as found:
        agent = agent_of(found, interface=interface)
        await agent.start()
        await interface.put(wrong)
        with pytest.raises(InvalidInputError):
            await agent.wait()
        await agent.stop()
    assert found.peers[0].heard[-1]["type"] == "session.close"


async def test_a_callback_that_fails_ends_the_session_and_is_told() -> None:
    def fail(message: ChatMessage) -> None:
        raise ZeroDivisionError(message.content)

    async with gateway(talker("Yes.")) as found:
        agent = agent_of(found, on_message=fail)
        await agent.start()
        await ask(agent, 2)
        with pytest.raises(ZeroDivisionError):
            await agent.wait()
        await agent.stop()


async def test_an_interface_of_ones_own_may_push_and_wait() -> None:
    class Own(BaseVoiceAgentInterface):
        def __init__(self) -> None:
            self.played: list[bytes] = []
            self.calls: list[str] = []

        def _speaker_callback(self, *args: Any, **kwargs: Any) -> None:
            self.calls.append("speaker")

        def _microphone_callback(self, *args: Any, **kwargs: Any) -> None:
            self.calls.append("microphone")

        def start(self, *args: Any, **kwargs: Any) -> None:
            self.calls.append(f"start {args} {kwargs}")

        def stop(self) -> None:
            self.calls.append("stop")

        def interrupt(self) -> None:
            self.calls.append("interrupt")

        def output(self, *args: Any, **kwargs: Any) -> None:
            self.calls.append("output")

        async def receive(self, data: Any, *args: Any, **kwargs: Any) -> None:
            self.played.append(data)

    interface, told = Own(), Told()
    async with gateway(talker("Yes.")) as found:
        agent = agent_of(found, interface=interface, on_message=told)
        await agent.start(3, device="x")
        await ask(agent, 2)
        await told.messages.get()
        await agent.stop()
    assert interface.calls == ["start (3,) {'device': 'x'}", "output", "stop"]
    assert interface.played == [SPOKEN]


def test_they_are_llamaindexs() -> None:
    agent = MiniCPMVoiceAgent(ws_url="ws://127.0.0.1:1", api_key="sk-secret")
    assert isinstance(agent, BaseVoiceAgent)
    assert isinstance(agent.ws, BaseVoiceAgentWebsocket)
    assert isinstance(agent.interface, BaseVoiceAgentInterface)
    assert agent.ws_url == "ws://127.0.0.1:1"
    assert "sk-secret" not in str(vars(agent)) + str(vars(agent.ws))


def test_tools_are_refused() -> None:
    def weather(city: str) -> str:
        """The weather."""
        return city

    tool = FunctionTool.from_defaults(fn=weather)
    with pytest.raises(UnsupportedFeatureError, match="calls no tools in realtime"):
        MiniCPMVoiceAgent(ws_url="ws://127.0.0.1:1", tools=[tool])
    MiniCPMVoiceAgent(ws_url="ws://127.0.0.1:1", tools=[])


@pytest.mark.parametrize(
    "settings",
    [{"mode": "chat"}, {"ws_url": "ftp://x"}, {"max_events": 0}, {"ws": MiniCPMVoiceAgentWebsocket(), "mode": "video"}],
    ids=str,
)
def test_impossible_settings_are_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        MiniCPMVoiceAgent(**settings)
    with pytest.raises(ConfigurationError):
        QueueVoiceInterface(max_in=0)


async def test_what_is_not_asked_for_is_refused() -> None:
    agent = MiniCPMVoiceAgent(ws_url="ws://127.0.0.1:1")
    with pytest.raises(InvalidInputError):
        await agent.send(QUIET, "pcm16")
    with pytest.raises(InvalidInputError):
        await agent.handle_message({"type": "session.created"})
    with pytest.raises(UnsupportedFeatureError, match="aconnect"):
        MiniCPMVoiceAgentWebsocket().connect()


async def test_the_connection_works_by_itself() -> None:
    async with gateway(talker("Yes.")) as found:
        socket = MiniCPMVoiceAgentWebsocket(found.url)
        await socket.aconnect()
        with pytest.raises(errors.SessionStateError, match="begun already"):
            await socket.aconnect()
        await socket.send(LOUD + QUIET * 2)

        async def words() -> AsyncGenerator[str, None]:
            async for event in socket.events():
                if isinstance(event, TextDelta):
                    yield event.text

        said = words()
        assert await anext(said) == "Yes."
        await said.aclose()
        await socket.close()
        await socket.close()


class SoundCard:
    """What sounddevice is with a microphone and a loudspeaker: each stream calls back from a thread, a few times."""

    PortAudioError = OSError

    def __init__(self) -> None:
        self.played: list[bytes] = []
        self.streams: list[str] = []
        self.speaker: Any = None

    def query_devices(self, *, kind: str) -> None:
        self.streams.append(f"asked for {kind}")

    def RawInputStream(self, *, callback: Any, **settings: Any) -> Any:  # noqa: N802 - sounddevice's name
        heard = [LOUD[at : at + 3200] for at in range(0, len(LOUD), 3200)] + [bytes(3200)] * 20
        return Stream(self, "microphone", lambda: [callback(piece, 1600, None, None) for piece in heard])

    def RawOutputStream(self, *, callback: Any, **settings: Any) -> Any:  # noqa: N802 - sounddevice's name
        self.speaker = callback
        return Stream(self, "speaker", lambda: None)

    def play(self) -> bytes:
        """What the card would play next."""
        data = bytearray(2400 * 4)
        self.speaker(memoryview(data), 2400, None, None)
        return bytes(data)


class Stream:
    def __init__(self, card: SoundCard, name: str, run: Any) -> None:
        self._card, self._name, self.start = card, name, run

    def abort(self) -> None:
        self._card.streams.append(f"{self._name} aborted")

    def close(self) -> None:
        self._card.streams.append(f"{self._name} closed")


async def test_the_microphone_and_the_speaker_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    card, told = SoundCard(), Told()
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    interface = SoundDeviceVoiceInterface()
    async with gateway(talker("Yes.")) as found, agent_of(found, interface=interface, on_message=told):
        message = await told.messages.get()
        sound = b""
        while not any(sound):  # the buffer waits a moment, as jitter asks for
            sound = card.play()
            await asyncio.sleep(0)
    assert message.content == "Yes."
    assert set(card.streams[2:]) == {"microphone aborted", "microphone closed", "speaker aborted", "speaker closed"}


async def test_without_devices_the_agent_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    async with gateway(talker()) as found:
        with pytest.raises(ConfigurationError, match=r"\[audio\]"):
            await agent_of(found, interface=SoundDeviceVoiceInterface()).start()
    assert found.peers[0].heard[-1]["type"] == "session.close"
