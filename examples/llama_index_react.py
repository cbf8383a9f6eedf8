"""A ReAct agent looks at a photograph and calls its tools in words, so that the model needs no tool calls of its own.

    python examples/llama_index_react.py [PHOTO [QUESTION]]

Which server is asked is set in the environment: MINICPM_API_KEY for the hosted API, or MINICPM_BASE_URL for a server of
your own (`minicpm emulate` starts one that needs no model).
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from llama_index.core.agent.workflow import AgentStream, ReActAgent, ToolCallResult
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock

from llama_index_minicpm import MiniCPM


def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


async def main(photo: str = "", question: str = "Multiply 600 by 400.") -> None:
    """Ask, and print thoughts, calls and the answer."""
    path = Path(photo) if photo else Path(__file__).parent / "photos" / "coffee.jpg"
    message = ChatMessage(role="user", blocks=[TextBlock(text=question), ImageBlock(path=path)])

    # The model thinks apart from its answer, so no thought is taken for a call or for the answer.
    agent: Any = ReActAgent(llm=MiniCPM(thinking=True, max_tokens=2048), tools=[multiply])
    handler = agent.run(user_msg=message)
    thoughts = 0
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):
            print(f"[{event.tool_name} {event.tool_kwargs} = {event.tool_output.content}]")
        elif isinstance(event, AgentStream):
            thoughts += len(event.thinking_delta or "")
    print(f"[{thoughts} characters of thoughts]")
    print(await handler)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
