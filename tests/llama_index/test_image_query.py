"""Engines of LlamaIndex show the model the pictures that were found, in the size that it looks at, and cite them."""

from __future__ import annotations

import asyncio
import base64
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import Response, VectorStoreIndex
from llama_index.core.query_engine import CitationQueryEngine
from llama_index.core.query_engine.citation_query_engine import CITATION_CHAT_CONTENT_QA_TEMPLATE
from llama_index.core.schema import MediaResource, Node, NodeWithScore, TextNode
from PIL import Image

from llama_index_minicpm import (
    MiniCPM,
    MiniCPMImageCaptioner,
    MiniCPMImagePostprocessor,
    image_citations,
    load_images,
)
from minicpm_core.emulator import EmulatorServer
from minicpm_core.errors import InvalidMediaError
from minicpm_core.parts import TILE_PIXELS
from tests.captions.support import COLOURS, png
from tests.core.media.pdfs import document, text
from tests.support.embedding import WordEmbedding
from tests.support.loops import own_loop
from tests.support.server import ScriptedServer, completion, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ = own_loop
pytestmark = pytest.mark.usefixtures("own_loop")

QUESTION = "Which picture is yellow?"


@pytest.fixture
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer(dialect="vllm") as running:
        yield running


@pytest.fixture
def llm(emulator: EmulatorServer) -> MiniCPM:
    return MiniCPM(base_url=emulator.base_url, backend="vllm", max_retries=0)


@pytest.fixture
def nodes(llm: MiniCPM, tmp_path: Path) -> list[Any]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(png(colour))
    (folder / "report.pdf").write_bytes(document(text(b"One"), text(b"Two")))
    return list(MiniCPMImageCaptioner(llm=llm)(load_images(folder, image_dir=tmp_path / "pages")))


def _shown(body: dict[str, Any]) -> list[bytes]:
    return [
        base64.b64decode(part["image_url"]["url"].partition(",")[2])
        for message in body["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]


def _chats(server: EmulatorServer) -> list[dict[str, Any]]:
    return [request.body for request in server.requests if request.body]


def _noise(path: Path, size: tuple[int, int]) -> Path:
    Image.effect_noise(size, 60).convert("RGB").save(path, quality=90)
    return path


def _engine(nodes: Sequence[Any], llm: MiniCPM, *, top: int = 3, **more: Any) -> Any:
    index = VectorStoreIndex(list(nodes), embed_model=WordEmbedding())
    return index.as_query_engine(llm=llm, multimodal=True, similarity_top_k=top, **more)


def test_several_pictures_go_into_one_call_with_their_captions(
    nodes: list[Any], llm: MiniCPM, emulator: EmulatorServer
) -> None:
    emulator.reset()
    answer = _engine(nodes, llm).query(QUESTION)
    (body,) = _chats(emulator)
    assert len(_shown(body)) == 3
    assert png("yellow") in _shown(body)
    assert "A plain yellow landscape rectangle" in str(body)
    assert "file_name: yellow.png" in str(body)
    assert len(answer.source_nodes) == 3


def test_no_more_pictures_go_into_a_call_than_fit(nodes: list[Any], llm: MiniCPM, emulator: EmulatorServer) -> None:
    emulator.reset()
    llm.context_window = 6000  # LlamaIndex counts 2,125 tokens for a picture
    _engine(nodes, llm, top=6).query(QUESTION)
    counts = [len(_shown(body)) for body in _chats(emulator)]
    assert sum(counts) == 6
    assert max(counts) == 2


@pytest.mark.parametrize("fitted", [True, False])
def test_a_large_picture_is_scaled_to_what_the_model_looks_at(
    llm: MiniCPM, emulator: EmulatorServer, tmp_path: Path, fitted: bool
) -> None:
    nodes = MiniCPMImageCaptioner(llm=llm)([_noise(tmp_path / "large.jpg", (3000, 2000))])
    emulator.reset()
    more = {"node_postprocessors": [MiniCPMImagePostprocessor(llm=llm)]} if fitted else {}
    _engine(nodes, llm, **more).query(QUESTION)
    (shown,) = _shown(_chats(emulator)[0])
    with Image.open(BytesIO(shown)) as image:
        assert 5 * TILE_PIXELS < image.width * image.height <= 10 * TILE_PIXELS
        assert abs(image.width / image.height - 1.5) < 0.05


def test_the_nodes_of_the_index_are_not_changed(llm: MiniCPM, tmp_path: Path) -> None:
    path = _noise(tmp_path / "large.jpg", (3000, 2000))
    node = NodeWithScore(node=Node(image_resource=MediaResource(path=path)), score=0.5)
    (found,) = MiniCPMImagePostprocessor(llm=llm).postprocess_nodes([node])
    resource = getattr(found.node, "image_resource", None)
    assert resource is not None
    assert len(base64.b64decode(resource.data)) < path.stat().st_size / 2
    assert resource.path == path
    assert found.score == 0.5
    assert getattr(node.node, "image_resource").data is None  # noqa: B009 - a BaseNode, for the type checkers


def test_a_picture_that_is_gone_leaves_its_caption(nodes: list[Any], llm: MiniCPM, emulator: EmulatorServer) -> None:
    for node in nodes:
        node.image_resource.path.unlink(missing_ok=True)
    emulator.reset()
    _engine(nodes, llm, node_postprocessors=[MiniCPMImagePostprocessor(llm=llm)]).query(QUESTION)
    (body,) = _chats(emulator)
    assert not _shown(body)
    assert "A plain yellow landscape rectangle" in str(body)
    strict = MiniCPMImagePostprocessor(llm=llm, on_error="raise")
    with pytest.raises(InvalidMediaError, match="does not exist"):
        _engine(nodes, llm, node_postprocessors=[strict]).query(QUESTION)


def test_pictures_after_the_first_few_are_left_to_their_captions(nodes: list[Any], llm: MiniCPM) -> None:
    scored = [NodeWithScore(node=node) for node in (TextNode(text="words"), *nodes)]
    found = MiniCPMImagePostprocessor(llm=llm, max_images=2).postprocess_nodes(scored)
    assert [getattr(one.node, "image_resource", None) is not None for one in found] == [False, True, True] + [False] * (
        len(nodes) - 2
    )
    assert [one.get_content() for one in found] == [one.get_content() for one in scored]


async def test_the_event_loop_goes_on_while_pictures_are_read_and_scaled(llm: MiniCPM, tmp_path: Path) -> None:
    paths = [_noise(tmp_path / f"{number}.jpg", (3000, 2000)) for number in range(4)]
    nodes = [NodeWithScore(node=Node(image_resource=MediaResource(path=path))) for path in paths]
    ticks = 0
    over = asyncio.Event()

    async def tick() -> None:
        nonlocal ticks
        while not over.is_set():
            ticks += 1
            await asyncio.sleep(0.005)

    ticking = asyncio.create_task(tick())
    began = time.perf_counter()
    await MiniCPMImagePostprocessor(llm=llm).apostprocess_nodes(nodes)
    took = time.perf_counter() - began
    over.set()
    await ticking
    assert ticks > 5, f"the loop ticked {ticks} times in {took:.2f} s"


# --- Citations -------------------------------------------------------------------------------------------------------


@pytest.fixture
def citing() -> Iterator[ScriptedServer]:
    with ScriptedServer(answers=[whole(completion("It is yellow [1], unlike the page [2, 1]. See [9]."))]) as server:
        yield server


def _yellow_and_page(nodes: list[Any]) -> VectorStoreIndex:
    chosen = [node for node in nodes if node.metadata["file_name"] in {"yellow.png", "report.pdf"}][1:]
    return VectorStoreIndex(chosen, embed_model=WordEmbedding())


def test_an_answer_cites_pictures_and_pages(nodes: list[Any], citing: ScriptedServer) -> None:
    model = MiniCPM(base_url=citing.base_url, backend="vllm")
    engine = _yellow_and_page(nodes).as_query_engine(
        llm=model,
        multimodal=True,
        node_postprocessors=[MiniCPMImagePostprocessor(llm=model, cite=True)],
        chat_content_qa_template=CITATION_CHAT_CONTENT_QA_TEMPLATE,
    )
    answer = engine.query("Which is the yellow rectangle?")
    content = citing.requests[-1].json["messages"][-1]["content"]
    assert [part["type"] for part in content].count("image_url") == 2
    assert "cite the appropriate source(s)" in str(content)
    assert "source: [2] report.pdf, page 2" in str(content)
    assert [str(one) for one in image_citations(answer)] == ["[1] yellow.png", "[2] report.pdf, page 2"]
    first, second = image_citations(answer)
    assert first.file_path is not None
    assert first.file_path.endswith("yellow.png")
    assert second.page == 2


def test_the_numbers_of_llama_indexs_citation_engine_are_read_too(nodes: list[Any], citing: ScriptedServer) -> None:
    engine = CitationQueryEngine.from_args(
        _yellow_and_page(nodes),
        llm=MiniCPM(base_url=citing.base_url, backend="vllm"),
        multimodal=True,
        similarity_top_k=2,
        citation_chunk_size=4096,
    )
    answer = engine.query("Which is the yellow rectangle?")
    cited = image_citations(answer)
    assert [one.number for one in cited] == [1, 2]
    assert {one.file_name for one in cited} == {"yellow.png"}  # its caption, and itself


def test_only_sources_that_there_are_are_cited() -> None:
    nodes = [NodeWithScore(node=TextNode(text="words", id_="a"))]
    assert [str(one) for one in image_citations(Response("See [1] and [0] and [7].", source_nodes=nodes))] == ["[1] a"]
    assert image_citations("Nothing is cited.", nodes) == []
