"""Sentence embeddings for LangChain's stores, without a download: see `minilm.py`.

store = Chroma(embedding_function=MiniLMEmbeddings(), persist_directory="index")
"""

from __future__ import annotations

from langchain_core.embeddings import Embeddings
from minilm import embed


class MiniLMEmbeddings(Embeddings):
    """all-MiniLM-L6-v2: 384 numbers for each text, of length 1."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text."""
        vectors: list[list[float]] = embed(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return self.embed_documents([text])[0]
