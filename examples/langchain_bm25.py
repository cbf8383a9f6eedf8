"""A retriever that needs no model and no store: BM25 over the texts and names of documents, by bm25s. Used by other examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.documents import Document  # noqa: TC002 - Pydantic reads the field's annotation
from langchain_core.retrievers import BaseRetriever

from langchain_minicpm import source_label
from minicpm_core.captions.ranking import ranked

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun


class BM25Retriever(BaseRetriever):
    """The documents whose texts have the rarest words of a question.

    The words are counted at each question: good for some thousands of documents.
    """

    documents: list[Document]
    """What is searched."""
    k: int = 3
    """How many are given."""

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - the base class hands it over
    ) -> list[Document]:
        texts = [f"{source_label(document)} {document.page_content}" for document in self.documents]
        return [self.documents[at] for at, _ in ranked(query, texts)[: self.k]]
