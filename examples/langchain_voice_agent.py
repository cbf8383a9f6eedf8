"""An agent that does what is said aloud: MiniCPM-o speaks with the user, and an agent with tools takes its turns.

    python examples/langchain_voice_agent.py [QUESTION.wav]

What goes in is a recording (16-bit PCM, one channel, any rate), sent as fast as it is heard; without one, a short tone.
MiniCPM-o calls no tools while it speaks, so each of its turns is given, as text, to an agent that does. Which gateway
is talked with is set by MINICPM_REALTIME_URL (`minicpm emulate` starts one that needs no model); which model the agent
asks is set as for `langchain_photo.py`.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import wave
from array import array
from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from langchain_minicpm import ChatMiniCPM, MiniCPMRealtime, RealtimeInput, each_turn
from minicpm_core.realtime import DEFAULT_REALTIME_URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RATE = 24_000
PROMPT = "You take notes for the user. Say in one sentence what you were asked to note."
NOTES: list[str] = []


@tool
def write_note(text: str) -> str:
    """Write a note into the notebook.

    Args:
        text: The note.
    """
    NOTES.append(text)
    return f"Noted, as number {len(NOTES)}."


async def recording(path: str | None) -> AsyncIterator[RealtimeInput]:
    """A recording in pieces of a second, as a microphone would give them."""
    if path is None:
        tone = array("h", (round(9000 * math.sin(math.tau * 440 * at / RATE)) for at in range(RATE)))
        yield RealtimeInput(audio=tone, sample_rate=RATE)
        return
    with wave.open(path, "rb") as wav:
        if (wav.getsampwidth(), wav.getnchannels()) != (2, 1):
            sys.exit("The recording must be 16-bit PCM of one channel.")
        while piece := wav.readframes(wav.getframerate()):
            yield RealtimeInput(audio=piece, sample_rate=wav.getframerate())


def to_messages(text: str) -> dict[str, Any]:
    """A turn, as an agent wants it."""
    return {"messages": [("user", f'The assistant on the phone said: "{text}" Write it down with your tool.')]}


def last_words(state: dict[str, Any]) -> str:
    """What an agent says at the end."""
    return str(state["messages"][-1].text)


async def main(path: str | None = None) -> None:
    """Listen, speak, and let the agent do its work."""
    url = os.environ.get("MINICPM_REALTIME_URL", DEFAULT_REALTIME_URL)
    voice = MiniCPMRealtime(url, system_prompt=PROMPT, pace=True)
    agent: Any = create_agent(ChatMiniCPM(temperature=0, max_tokens=512), [write_note])
    chain: Any = voice | each_turn(RunnableLambda(to_messages) | agent | RunnableLambda(last_words))
    # The stream is given as one input, so that the trace of the chain does not keep the recording.
    async for event in chain.astream_events(recording(path), version="v2"):
        data = event["data"]
        if event["event"] == "on_chain_stream" and event["name"] == "MiniCPMRealtime":
            print(data["chunk"].text, end="", flush=True)  # captions, as they are spoken
        elif event["event"] == "on_chain_start" and event["name"] == "LangGraph":
            print("\n[the agent is asked]")
        elif event["event"] == "on_tool_end":
            print(f"[{event['name']}] {data['output'].text}")
        elif event["event"] == "on_chain_stream" and event["name"] == "each_turn":
            print(data["chunk"])
    print(f"{len(NOTES)} in the notebook.")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))
