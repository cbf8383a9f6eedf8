"""An agent that looks at the weather and at photographs, made with LangChain's `create_agent`.

    python examples/langchain_agent.py [QUESTION]

It may call several tools at once, and one of them returns a picture, which the model then sees.  What the agent does is
shown step by step, and what it says as it says it.  Which server is asked is set in the environment, as for
`langchain_photo.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool

from langchain_minicpm import ChatMiniCPM, image_block

PHOTOS = Path(__file__).parent / "photos"
WEATHER = {"Paris": "sunny, 21 degrees", "Rome": "thunderstorms, 17 degrees"}
QUESTION = "How is the weather in Paris and Rome?  And show me the photo 'coffee': what is on it?"


@tool
def get_weather(city: str) -> str:
    """The weather in one city right now.

    Args:
        city: The name of the city alone.
    """
    return f"{city}: {WEATHER.get(city, 'no report')}"


@tool
def show_photo(name: str) -> list[dict[str, Any]]:
    """A photo from the album, to look at.

    Args:
        name: One of cat, coffee and rocket.
    """
    path = PHOTOS / f"{Path(name).name}.jpg"
    if not path.exists():
        return [{"type": "text", "text": f"There is no photo {name!r} in the album."}]
    return [{"type": "text", "text": f"The photo {name!r}:"}, image_block(path)]


def main(question: str = QUESTION) -> None:
    """Ask, and show what the agent does."""
    agent = create_agent(
        ChatMiniCPM(temperature=0, max_tokens=1024),
        [get_weather, show_photo],
        system_prompt="You are a guide. Use your tools; do not guess what they can tell you.",
    )

    said: dict[str, Any] = {"messages": [("user", question)]}
    for mode, item in agent.stream(said, stream_mode=["updates", "messages"]):
        if mode == "messages":  # pieces of what the model writes, as they come
            piece, where = item
            if where["langgraph_node"] == "model":
                print(piece.text, end="", flush=True)
            continue
        for step, update in item.items():  # what each step has added to the conversation
            for message in update["messages"]:
                for call in getattr(message, "tool_calls", ()):
                    print(f"[{step}] {call['name']}({call['args']})")
                if message.type == "tool":
                    kinds = [block["type"] for block in message.content_blocks]
                    print(f"[{step}] {message.name}: {message.text} {kinds}")
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
