"""An agent that asks before it acts, made with LangGraph; its conversation is kept in an SQLite file.

    python examples/langgraph_agent.py ask "Book a table for 4 people in Rome."
    python examples/langgraph_agent.py answer yes

The first run ends where the model wants to book; the second, a new process, goes on from there with your answer.  Set
`CONVERSATION` to keep the conversation in another file than `conversation.sqlite`.  Which server is asked is set in the
environment, as for `langchain_photo.py`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from langchain_minicpm import ChatMiniCPM

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.graph.state import CompiledStateGraph


@tool
def find_restaurants(city: str) -> str:
    """Find the restaurants of a city."""
    return f"In {city} there are Da Enzo and Il Ponte."


@tool
def book_table(city: str, people: int) -> str:
    """Book a table at a restaurant, which costs a deposit."""
    return f"A table for {people} in {city} is booked."


TOOLS = {each.name: each for each in (find_restaurants, book_table)}
ASK_FIRST = {"book_table"}


def act(state: MessagesState) -> dict[str, Any]:
    """Do what the model wants done; ask first where it costs something."""
    answer = state["messages"][-1]
    calls = answer.tool_calls if isinstance(answer, AIMessage) else []
    wanted = [{"tool": call["name"], "arguments": call["args"]} for call in calls if call["name"] in ASK_FIRST]
    # On resuming, this node runs again from its start, and interrupt() gives the answer: so nothing is done before it.
    allowed = not wanted or interrupt(wanted) == "yes"
    return {"messages": [carried_out(call, allowed=allowed) for call in calls]}


def carried_out(call: ToolCall, *, allowed: bool) -> ToolMessage:
    """What comes of a call: a tool's result, or why there is none."""
    name = call["name"]
    if name in TOOLS and (allowed or name not in ASK_FIRST):
        result: ToolMessage = TOOLS[name].invoke(call)
        return result
    why = (
        "The user does not want that." if name in TOOLS else f"There is no tool {name!r}."
    )  # small models make some up
    return ToolMessage(why, tool_call_id=call["id"], name=name, status="error")


def build(saver: BaseCheckpointSaver[Any]) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph: the model speaks, tools act, until the model wants no more tools."""
    model = ChatMiniCPM(temperature=0, max_tokens=1024).bind_tools(list(TOOLS.values()))

    def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    def after(state: MessagesState) -> str:
        answer = state["messages"][-1]
        return "act" if isinstance(answer, AIMessage) and answer.tool_calls else END

    graph = StateGraph(MessagesState)
    graph.add_node("speak", speak)
    graph.add_node("act", act)
    graph.add_edge(START, "speak")
    graph.add_conditional_edges("speak", after, ["act", END])
    graph.add_edge("act", "speak")
    return graph.compile(checkpointer=saver)


def main(what: str = "ask", words: str = "Book a table for 4 people in Rome.") -> None:
    """Go on with the conversation, and show what is new."""
    given: Any = {"messages": [("user", words)]} if what == "ask" else Command(resume=words)
    with SqliteSaver.from_conn_string(os.environ.get("CONVERSATION", "conversation.sqlite")) as saver:
        for update in build(saver).stream(given, {"configurable": {"thread_id": "me"}}, stream_mode="updates"):
            for step, change in update.items():
                if step == "__interrupt__":
                    print(f"[may I?] {change[0].value}")
                    continue
                for message in change["messages"]:
                    calls = [f"{call['name']}({call['args']})" for call in getattr(message, "tool_calls", ())]
                    print(f"[{step}] {message.text or ', '.join(calls)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
