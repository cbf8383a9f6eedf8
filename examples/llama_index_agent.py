"""An agent with tools, pictures and a memory: it is asked twice, and the second question leans on the first.

    python examples/llama_index_agent.py [QUESTION …]

Which server is asked is set in the environment: MINICPM_API_KEY for the hosted API, or MINICPM_BASE_URL for a server of
your own (`minicpm emulate` starts one that needs no model).
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ToolCallResult
from llama_index.core.llms import ImageBlock, TextBlock
from llama_index.core.memory import Memory

from llama_index_minicpm import MiniCPM

PHOTOS = Path(__file__).parent / "photos"
QUESTIONS = ("What is the weather in Paris and Rome?", "Take the photo of the rocket. What colours does it have?")


def get_weather(city: str) -> str:
    """The current weather in a city."""
    return f"It is sunny in {city}, 21 degrees."


def take_photo(subject: str) -> list[Any]:
    """Take a photo of a subject, such as a rocket."""
    # What a tool shows is sent along: the model sees the photo, not a description of it.
    return [TextBlock(text=f"A photo of the {subject}:"), ImageBlock(path=PHOTOS / "rocket.jpg")]


async def main(*questions: str) -> None:
    """Ask, and print what the agent does as it does it."""
    agent: Any = FunctionAgent(
        llm=MiniCPM(max_tokens=1024),
        tools=[get_weather, take_photo],
        system_prompt="You are a helpful assistant. Use the tools for what you do not know.",
    )
    memory = Memory.from_defaults(session_id="example", token_limit=8000)
    for question in questions or QUESTIONS:
        print(f"\n> {question}")
        handler = agent.run(user_msg=question, memory=memory)
        async for event in handler.stream_events():
            if isinstance(event, ToolCallResult):
                print(f"[{event.tool_name} {event.tool_kwargs}]")
            elif isinstance(event, AgentStream):
                print(event.delta, end="", flush=True)
        await handler
        print()
    print(f"\nThe memory holds {len(await memory.aget_all())} messages.")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
