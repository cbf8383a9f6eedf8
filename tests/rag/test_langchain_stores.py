"""Documents of pictures in real stores: kept, opened again, replaced, deleted, and shown to the model that answers."""

# What these use is in .venv-rag, not where types are checked.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import HumanMessage

from langchain_minicpm import ChatMiniCPM, MiniCPMBlobParser, MiniCPMLoader, multi_modal_documents, source_label
from tests.langchain.conftest import png

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager

    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore

    from minicpm_core.emulator import EmulatorServer

    Opener = Callable[[Path, Embeddings], AbstractContextManager[VectorStore]]

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def chroma(place: Path, embeddings: Embeddings) -> Generator[VectorStore]:
    from chromadb import PersistentClient
    from chromadb.config import Settings
    from langchain_chroma import Chroma

    client = PersistentClient(str(place), Settings(anonymized_telemetry=False))
    yield Chroma(client=client, collection_name="pictures", embedding_function=embeddings)
    client.close()


@contextmanager
def qdrant(place: Path, embeddings: Embeddings) -> Generator[VectorStore]:
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient
    from qdrant_client.models import Distance, VectorParams

    client = QdrantClient(path=str(place))
    if not client.collection_exists("pictures"):
        client.create_collection("pictures", vectors_config=VectorParams(size=384, distance=Distance.COSINE))
    yield QdrantVectorStore(client, "pictures", embedding=embeddings)
    client.close()


@pytest.fixture(scope="module")
def embeddings() -> Iterator[Embeddings]:
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield importlib.import_module("langchain_minilm").MiniLMEmbeddings()
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture
def llm(minicpm_emulator: EmulatorServer) -> Iterator[ChatMiniCPM]:
    with ChatMiniCPM(base_url=minicpm_emulator.base_url, api_key="k", backend="modelbest") as made:
        yield made


@pytest.fixture
def documents(llm: ChatMiniCPM) -> list[Document]:
    """The signs and the PDFs of the corpus."""
    folders = [EXAMPLES / "corpus" / name for name in ("signs", "papers")]
    return MiniCPMLoader(folders, parser=MiniCPMBlobParser(llm, concurrency=8)).load()


@pytest.fixture(params=[chroma, qdrant], ids=["chroma", "qdrant"])
def opened(request: pytest.FixtureRequest) -> Opener:
    opener: Opener = request.param
    return opener


def found(store: VectorStore, question: str, k: int = 3) -> list[str]:
    return [source_label(document) for document in store.similarity_search(question, k=k)]


def test_what_was_kept_is_found_after_opening_it_again(
    opened: Opener, embeddings: Embeddings, documents: list[Document], tmp_path: Path
) -> None:
    with opened(tmp_path / "store", embeddings) as store:
        store.add_documents(documents)
    with opened(tmp_path / "store", embeddings) as store:
        assert "signs/wet_floor.png" in found(store, "a flat graphic, portrait, mostly yellow")
        hits = store.similarity_search("a page that is mostly green", k=len(documents))
    by_id = {document.id: document for document in documents}
    assert len(hits) == len(documents)
    for hit in hits:
        kept: Any = {name: value for name, value in hit.metadata.items() if not name.startswith("_")}
        place = (kept["source"], kept.get("page"))
        (original,) = [one for one in by_id.values() if (one.metadata["source"], one.metadata.get("page")) == place]
        assert (hit.page_content, kept) == (original.page_content, original.metadata)


def test_adding_the_same_again_doubles_nothing(
    opened: Opener, embeddings: Embeddings, documents: list[Document], tmp_path: Path
) -> None:
    with opened(tmp_path / "store", embeddings) as store:
        store.add_documents(documents)
        store.add_documents(documents)
        assert len(store.similarity_search("a page", k=3 * len(documents))) == len(documents)


def test_a_replaced_picture_replaces_its_entry(
    opened: Opener, embeddings: Embeddings, llm: ChatMiniCPM, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    loader = MiniCPMLoader(photos, parser=MiniCPMBlobParser(llm))
    with opened(tmp_path / "store", embeddings) as store:
        for colour in ("red", "blue"):
            (photos / "a.png").write_bytes(png(colour=colour))
            store.add_documents(loader.load())
        (hit,) = store.similarity_search("a red picture", k=5)
    assert "blue" in hit.page_content


def test_what_was_deleted_stays_deleted(
    opened: Opener, embeddings: Embeddings, documents: list[Document], tmp_path: Path
) -> None:
    (sign,) = [one for one in documents if source_label(one) == "signs/wet_floor.png"]
    with opened(tmp_path / "store", embeddings) as store:
        store.add_documents(documents)
        store.delete([str(sign.id)])
    with opened(tmp_path / "store", embeddings) as store:
        labels = found(store, "a flat graphic, portrait, mostly yellow", k=2 * len(documents))
    assert len(labels) == len(documents) - 1
    assert "signs/wet_floor.png" not in labels


def test_the_model_sees_the_pictures_that_were_found(
    opened: Opener,
    embeddings: Embeddings,
    documents: list[Document],
    llm: ChatMiniCPM,
    minicpm_emulator: EmulatorServer,
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "store", embeddings) as store:
        store.add_documents(documents)
        hits = store.as_retriever(search_kwargs={"k": 2}).invoke("a flat graphic, portrait, mostly purple")
    sources = multi_modal_documents(hits, roots=EXAMPLES / "corpus", max_tokens=800)
    answer = llm.invoke([HumanMessage([*sources, {"type": "text", "text": "Describe the pictures."}])])
    content = minicpm_emulator.requests[-1].body["messages"][0]["content"]
    assert sum(part["type"] == "image_url" for part in content) == 2
    assert "mostly purple" in answer.text


def test_a_store_that_was_tampered_with_cannot_have_files_sent(
    opened: Opener, embeddings: Embeddings, documents: list[Document], tmp_path: Path
) -> None:
    from minicpm_core.errors import InvalidInputError

    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    bad = documents[0].model_copy(update={"metadata": {"source": str(secret), "kind": "picture"}})
    with opened(tmp_path / "store", embeddings) as store:
        store.add_documents([bad])
        hits = store.similarity_search("anything", k=1)
    with pytest.raises(InvalidInputError, match="outside"):
        multi_modal_documents(hits, roots=EXAMPLES / "corpus")
