"""A voice agent of LlamaIndex's: a recording in, a recording out, and the conversation as messages.

    python examples/llama_index_voice.py [QUESTION.wav [ANSWER.wav]]

The question is 16-bit PCM of one channel, at any rate; without one, a short tone is sent. Which gateway is talked with
is set by MINICPM_REALTIME_URL (`minicpm emulate` starts one that needs no model).
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import wave
from array import array
from typing import TYPE_CHECKING

from llama_index_minicpm import MiniCPMVoiceAgent, QueueVoiceInterface
from minicpm_core.realtime import DEFAULT_REALTIME_URL, WavWriter

if TYPE_CHECKING:
    from llama_index.core.llms import ChatMessage

RATE = 24_000
PATIENCE = 30
"""Seconds of silence in which the model may answer."""


def question(path: str | None) -> tuple[bytes, int]:
    """A recording and its rate."""
    if path is None:
        tone = array("h", (round(9000 * math.sin(math.tau * 440 * at / RATE)) for at in range(RATE)))
        return tone.tobytes(), RATE
    with wave.open(path, "rb") as wav:
        if (wav.getsampwidth(), wav.getnchannels()) != (2, 1):
            sys.exit("The recording must be 16-bit PCM of one channel.")
        return wav.readframes(wav.getnframes()), wav.getframerate()


async def main(asked: str | None = None, answered: str = "answer.wav") -> None:
    """Ask, wait for one turn of the model's, and write down what it said."""
    spoken = asyncio.Event()

    def said(message: ChatMessage) -> None:
        print(f"{message.role.value}: {message.content}")
        spoken.set()

    interface = QueueVoiceInterface()
    agent = MiniCPMVoiceAgent(
        interface=interface,
        ws_url=os.environ.get("MINICPM_REALTIME_URL", DEFAULT_REALTIME_URL),
        system_prompt="Answer in one sentence.",
        on_message=said,
        pace=True,  # a recording is sent as fast as it is heard
        silence_fill=PATIENCE,  # the model only goes on while it hears
    )
    sound, rate = question(asked)
    async with agent:
        await agent.send(sound, sample_rate=rate)
        await agent.flush()
        await asyncio.wait_for(spoken.wait(), PATIENCE + len(sound) / 2 / rate)
    with WavWriter(answered) as wav:
        async for piece in interface.heard():
            wav.write(piece)
    kinds = [event.type_t for event in agent.export_events()]
    print(f"{len(agent.export_messages())} message, {kinds.count('audio_delta')} pieces of sound in {answered}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
