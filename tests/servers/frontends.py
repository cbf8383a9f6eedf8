"""The three ways to ask, each in four modes.

What a stream hands out piece by piece must add up to what it holds at its end; each of the three checks that for every
answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

from tests.servers.core import Core
from tests.servers.langchain import LangChain
from tests.servers.llama_index import LlamaIndex

if TYPE_CHECKING:
    from tests.servers.support import Answer, Question, Server

MODES: Final = ("invoke", "stream", "ainvoke", "astream")


class Frontend(Protocol):
    """A way to ask a server."""

    def __init__(self, server: Server) -> None: ...

    def invoke(self, question: Question) -> Answer: ...

    def stream(self, question: Question) -> Answer: ...

    async def ainvoke(self, question: Question) -> Answer: ...

    async def astream(self, question: Question) -> Answer: ...

    def backends(self) -> set[str]:
        """What the synchronous and the asynchronous side take the server for."""
        ...


FRONTENDS: Final[dict[str, type[Frontend]]] = {"core": Core, "langchain": LangChain, "llama_index": LlamaIndex}


def ask(frontend: Frontend, mode: str, question: Question) -> Answer:
    """The answer to a question in one of `MODES`."""
    outcome: Answer | Coroutine[Any, Any, Answer] = getattr(frontend, mode)(question)
    return asyncio.run(outcome) if isinstance(outcome, Coroutine) else outcome
