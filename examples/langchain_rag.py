"""Ask about a folder of pictures and PDFs: captions are searched, and the originals are shown to the model.

    python examples/langchain_rag.py [QUESTION [FOLDER]]

Captions are kept in `.captions` in the folder, so that the second run is quick.  Which server is asked is set in the
environment, as for `langchain_photo.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from langchain_bm25 import BM25Retriever
from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough

from langchain_minicpm import (
    ChatMiniCPM,
    MiniCPMBlobParser,
    MiniCPMLoader,
    multi_modal_documents,
    source_label,
)

CORPUS = Path(__file__).parent / "corpus"
QUESTION = "Which chart is yellow on a white ground, and how large is it?"


def chain(folder: Path, model: ChatMiniCPM) -> Runnable[str, dict[str, Any]]:
    """Gives the `documents` that were found and the `answer`."""
    parser = MiniCPMBlobParser(model, cache=folder / ".captions", on_error="skip", concurrency=8)
    retriever = BM25Retriever(documents=MiniCPMLoader(folder, parser=parser).load())

    def prompt(found: dict[str, Any]) -> list[HumanMessage]:
        sources = multi_modal_documents(found["documents"], roots=folder, model=model.model, max_tokens=2048)
        return [HumanMessage([*sources, {"type": "text", "text": found["question"]}])]

    answer = RunnableLambda(prompt) | model | (lambda message: message.text)
    return {"documents": retriever, "question": RunnablePassthrough()} | RunnablePassthrough.assign(answer=answer)


def main(question: str = QUESTION, folder: str = str(CORPUS)) -> None:
    """Ask, and show where the answer comes from."""
    found = chain(Path(folder), ChatMiniCPM(temperature=0, max_tokens=1024)).invoke(question)
    for document in found["documents"]:
        print(f"[found] {source_label(document)}: {document.page_content}")
    print(f"[answer] {found['answer']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
