"""Two agents that hand over to each other, and an object made of what they found.

    python examples/llama_index_workflow.py [QUESTION]

Which server is asked is set in the environment: MINICPM_API_KEY for the hosted API, or MINICPM_BASE_URL for a server of
your own (`minicpm emulate` starts one that needs no model).
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ToolCallResult
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from llama_index_minicpm import MiniCPM

QUESTION = "What is the weather? The agent is weather, the city is Paris."


class Report(BaseModel):
    """A weather report."""

    city: str
    degrees: int


def get_weather(city: str) -> str:
    """The current weather in a city."""
    return f"It is sunny in {city}, 21 degrees."


async def main(question: str = QUESTION) -> None:
    """Ask, and print who does what."""
    llm = MiniCPM(max_tokens=1024)
    desk = FunctionAgent(
        name="desk",
        description="Takes questions.",
        system_prompt="Hand over to the agent who knows.",
        llm=llm,
        can_handoff_to=["weather"],
    )
    weather = FunctionAgent(
        name="weather",
        description="Knows the weather.",
        system_prompt="Use your tool.",
        llm=llm,
        tools=[get_weather],
        can_handoff_to=[],
    )
    workflow: Any = AgentWorkflow(agents=[desk, weather], root_agent="desk")
    handler = workflow.run(user_msg=question)
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):
            print(f"[{event.tool_name} {event.tool_kwargs}]")
    answer = await handler
    print(f"{answer.current_agent_name}: {answer}")

    report = await llm.astructured_predict(Report, PromptTemplate("Report on this: {answer}"), answer=str(answer))
    print(report)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
