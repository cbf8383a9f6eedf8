"""Captioned pictures in real stores: both caption and picture are there after a restart, and gone after a deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage  # pyright: ignore[reportUnknownVariableType]
from llama_index.core.query_engine import RetrieverQueryEngine

from llama_index_minicpm import MiniCPM, MiniCPMImageCaptioner, MiniCPMImagePostprocessor, load_images
from minicpm_core.emulator import EmulatorServer
from tests.captions.support import COLOURS, png
from tests.rag.support import example, real
from tests.support.loops import own_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llama_index.core.schema import Node

minilm: Any = example("minilm")

_ = own_loop
pytestmark = [
    pytest.mark.usefixtures("own_loop"),
    # LlamaIndex's store still calls it.
    pytest.mark.filterwarnings(r"ignore:table_names\(\) is deprecated:DeprecationWarning"),
    # LlamaIndex's store makes them for servers, and does not ask whether there is one.
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning"),
]


class Store:
    """A store that LlamaIndex can delete from."""

    def delete(self, index: VectorStoreIndex, ref_doc_id: str) -> None:
        index.delete_ref_doc(ref_doc_id)


class Chroma(Store):
    """A collection in a folder."""

    def open(self, folder: Path) -> Any:
        client = real("chromadb").PersistentClient(str(folder))
        collection = client.get_or_create_collection("pictures")
        return real("llama_index.vector_stores.chroma").ChromaVectorStore(chroma_collection=collection)

    def close(self) -> None:
        real("chromadb.api.shared_system_client").SharedSystemClient.clear_system_cache()


class LanceDB:
    """A table in a folder."""

    def open(self, folder: Path) -> Any:
        return real("llama_index.vector_stores.lancedb").LanceDBVectorStore(
            uri=str(folder), table_name="pictures", mode="create"
        )

    def delete(self, index: VectorStoreIndex, ref_doc_id: str) -> None:
        """LlamaIndex's own puts the id in double quotes, which LanceDB reads as the name of a column."""
        store: Any = index.vector_store
        store.table.delete(f"doc_id = '{ref_doc_id}'")

    def close(self) -> None:
        """Nothing is held open."""


class Qdrant(Store):
    """A collection in a folder, without a server."""

    client: Any

    def open(self, folder: Path) -> Any:
        self.client = real("qdrant_client").QdrantClient(path=str(folder))
        return real("llama_index.vector_stores.qdrant").QdrantVectorStore("pictures", client=self.client)

    def close(self) -> None:
        self.client.close()


class Shelf:
    """An index over one of these, which keep the nodes themselves."""

    def __init__(self, store: Any, folder: Path) -> None:
        self.store, self.folder = store, folder

    def fill(self, nodes: list[Node]) -> VectorStoreIndex:
        context = StorageContext.from_defaults(vector_store=self.store.open(self.folder))
        return VectorStoreIndex(nodes, storage_context=context, embed_model=minilm.MiniLM())

    def delete(self, index: VectorStoreIndex, ref_doc_id: str) -> None:
        self.store.delete(index, ref_doc_id)

    def reopen(self, index: VectorStoreIndex) -> VectorStoreIndex:
        self.store.close()
        return VectorStoreIndex.from_vector_store(self.store.open(self.folder), embed_model=minilm.MiniLM())

    def close(self) -> None:
        self.store.close()


def _faiss_store() -> Any:
    return real("llama_index.vector_stores.faiss").FaissMapVectorStore


class FaissShelf:
    """FAISS keeps vectors only: the nodes are in LlamaIndex's own document store beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, nodes: list[Node]) -> VectorStoreIndex:
        faiss = real("faiss")
        flat = faiss.IndexIDMap2(faiss.IndexFlatIP(minilm.DIMENSIONS))
        context = StorageContext.from_defaults(vector_store=_faiss_store()(faiss_index=flat))
        return VectorStoreIndex(nodes, storage_context=context, embed_model=minilm.MiniLM())

    def delete(self, index: VectorStoreIndex, ref_doc_id: str) -> None:
        index.delete_ref_doc(ref_doc_id, delete_from_docstore=True)

    def reopen(self, index: VectorStoreIndex) -> VectorStoreIndex:
        context: Any = index.storage_context
        context.persist(str(self.folder))
        store = _faiss_store().from_persist_dir(str(self.folder))
        context = StorageContext.from_defaults(vector_store=store, persist_dir=str(self.folder))
        return cast("VectorStoreIndex", load_index_from_storage(context, embed_model=minilm.MiniLM()))

    def close(self) -> None:
        """Nothing is held open."""


SHELVES: dict[str, Callable[[Path], Any]] = {
    "chroma": lambda folder: Shelf(Chroma(), folder),
    "lancedb": lambda folder: Shelf(LanceDB(), folder),
    "qdrant": lambda folder: Shelf(Qdrant(), folder),
    "faiss": FaissShelf,
}


@pytest.fixture
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer(dialect="vllm") as running:
        yield running


@pytest.fixture
def llm(emulator: EmulatorServer) -> MiniCPM:
    return MiniCPM(base_url=emulator.base_url, backend="vllm")


@pytest.fixture
def nodes(llm: MiniCPM, tmp_path: Path) -> list[Node]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(png(colour))
    return cast("list[Node]", MiniCPMImageCaptioner(llm=llm)(load_images(folder)))


@pytest.fixture(params=SHELVES)
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    opened = SHELVES[request.param](tmp_path / "store")
    yield opened
    opened.close()


def _best(index: VectorStoreIndex, question: str) -> Any:
    return index.as_retriever(similarity_top_k=1).retrieve(question)[0].node


def _names(index: VectorStoreIndex) -> list[str]:
    found = index.as_retriever(similarity_top_k=6).retrieve("a red rectangle")
    return sorted(one.node.metadata["file_name"] for one in found)


def test_caption_and_picture_are_there_after_a_restart(shelf: Any, nodes: list[Node]) -> None:
    index = shelf.reopen(shelf.fill(nodes))
    for colour in ("yellow", "red"):
        node = _best(index, f"a {colour} rectangle")
        (given,) = [cast("Any", one) for one in nodes if one.metadata["file_name"] == f"{colour}.png"]
        assert node.node_id == given.node_id
        assert node.get_content() == given.get_content()
        assert node.image_resource.path == given.image_resource.path
        assert node.metadata == given.metadata
        assert node.excluded_llm_metadata_keys == given.excluded_llm_metadata_keys


def test_what_was_deleted_is_gone_after_a_restart_too(shelf: Any, nodes: list[Node]) -> None:
    index = shelf.reopen(shelf.fill(nodes))
    red = _best(index, "a red rectangle")
    shelf.delete(index, red.ref_doc_id)
    left = sorted(f"{colour}.png" for colour in COLOURS if colour != "red")
    assert _names(index) == left
    assert _names(shelf.reopen(index)) == left


def test_the_model_is_shown_picture_and_caption(
    shelf: Any, nodes: list[Node], llm: MiniCPM, emulator: EmulatorServer
) -> None:
    index = shelf.reopen(shelf.fill(nodes))
    emulator.reset()
    engine = index.as_query_engine(
        llm=llm, multimodal=True, similarity_top_k=2, node_postprocessors=[MiniCPMImagePostprocessor(llm=llm)]
    )
    answer = engine.query("Which rectangle is yellow?")
    (request,) = [one for one in emulator.requests if one.body]
    parts = request.body["messages"][-1]["content"]
    assert [part["type"] for part in parts].count("image_url") == 2
    assert "file_name: yellow.png" in str(parts)
    assert "A plain yellow landscape rectangle" in str(parts)
    assert answer.source_nodes[0].node.metadata["file_name"] == "yellow.png"


def test_no_embedding_is_needed(nodes: list[Node], llm: MiniCPM, emulator: EmulatorServer, tmp_path: Path) -> None:
    bm25 = real("llama_index.retrievers.bm25").BM25Retriever
    bm25.from_defaults(nodes=nodes, similarity_top_k=1).persist(str(tmp_path / "bm25"))
    retriever = bm25.from_persist_dir(str(tmp_path / "bm25"))
    engine = RetrieverQueryEngine.from_args(retriever, llm=llm, multimodal=True)
    answer = engine.query("Where is something yellow?")
    assert answer.source_nodes[0].node.metadata["file_name"] == "yellow.png"
    assert "yellow" in str(answer)
