"""An agent that looks for pictures itself: its tool searches captions, and gives it the pictures to look at.

    python examples/langgraph_pictures.py [QUESTION [FOLDER]]

The tool's result holds the pictures, so the model sees them; ChatMiniCPM brings them into the form that the server
takes.  Which server is asked is set in the environment, as for `langchain_photo.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_bm25 import BM25Retriever
from langchain_core.documents import Document  # noqa: TC002 - the tool's schema is made of its annotations
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from langchain_minicpm import (
    ChatMiniCPM,
    MiniCPMBlobParser,
    MiniCPMLoader,
    multi_modal_documents,
    source_label,
)

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

CORPUS = Path(__file__).parent / "corpus"
QUESTION = "Search pictures for 'a yellow sign' and tell me how large it is."


def search_tool(folder: Path, model: ChatMiniCPM) -> BaseTool:
    """A tool that gives the pictures whose captions fit."""
    parser = MiniCPMBlobParser(model, cache=folder / ".captions", on_error="skip", concurrency=8)
    retriever = BM25Retriever(documents=MiniCPMLoader(folder, parser=parser).load(), k=2)

    @tool(response_format="content_and_artifact")
    def search_pictures(query: str) -> tuple[list[dict[str, Any]], list[Document]]:
        """Search pictures by what they show, and look at the ones that fit best.

        Args:
            query: A few words for what is to be seen.
        """
        documents = retriever.invoke(query)
        return multi_modal_documents(documents, roots=folder, model=model.model, max_tokens=2048), documents

    return search_pictures


def build(folder: Path, model: ChatMiniCPM) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph: the model speaks, the tool searches, until the model wants no more of it."""
    search = search_tool(folder, model)
    speaker = model.bind_tools([search])

    def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [speaker.invoke(state["messages"])]}

    def after(state: MessagesState) -> str:
        answer = state["messages"][-1]
        return "search" if isinstance(answer, AIMessage) and answer.tool_calls else END

    graph = StateGraph(MessagesState)
    graph.add_node("speak", speak)
    graph.add_node("search", ToolNode([search]))
    graph.add_edge(START, "speak")
    graph.add_conditional_edges("speak", after, ["search", END])
    graph.add_edge("search", "speak")
    return graph.compile()


def main(question: str = QUESTION, folder: str = str(CORPUS)) -> None:
    """Ask, and show what is done and found."""
    agent = build(Path(folder), ChatMiniCPM(temperature=0, max_tokens=1024))
    for message in agent.invoke({"messages": [("user", question)]})["messages"][1:]:
        calls = [f"{call['name']}({call['args']})" for call in getattr(message, "tool_calls", ())]
        artifact: list[Document] = getattr(message, "artifact", None) or []
        shown = ", ".join(source_label(document) for document in artifact)
        print(f"[{message.type}] {shown or ', '.join(calls) or message.text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
