"""Pictures become nodes with captions, whatever they came in; each is paid for once."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.schema import (
    Document,
    ImageDocument,
    ImageNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    TextNode,
)

from llama_index_minicpm import MiniCPM, MiniCPMImageCaptioner, load_images
from minicpm_core import MiniCPMClient
from minicpm_core.captions import CaptionCache, Captioner
from minicpm_core.emulator import EmulatorServer
from minicpm_core.errors import ConfigurationError, InvalidMediaError, ServerError, TruncatedReplyError
from tests.captions.support import png
from tests.core.media.pdfs import document, text
from tests.support.server import Delay, ScriptedServer, completion, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SECRET = "sk-a-secret-of-the-tests"


@pytest.fixture
def emulator() -> Iterator[EmulatorServer]:
    with EmulatorServer(dialect="vllm") as running:
        yield running


@pytest.fixture
def llm(emulator: EmulatorServer) -> MiniCPM:
    return MiniCPM(base_url=emulator.base_url, backend="vllm", api_key=SECRET, max_retries=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    root.mkdir()
    (root / "red.png").write_bytes(png("red"))
    (root / "blue.png").write_bytes(png("blue"))
    (root / "doc.pdf").write_bytes(document(text(b"One"), text(b"Two")))
    (root / "notes.txt").write_text("no picture")
    return root


@pytest.fixture(params=["call", "acall"])
def run(request: pytest.FixtureRequest) -> Any:
    def call(captioner: MiniCPMImageCaptioner, nodes: Sequence[Any], **more: Any) -> list[Any]:
        if request.param == "call":
            return list(captioner(nodes, **more))
        return list(asyncio.run(captioner.acall(nodes, **more)))

    return call


def _chats(server: EmulatorServer) -> int:
    return sum(1 for request in server.requests if request.body)


# --- Loading ---------------------------------------------------------------------------------------------------------


def test_a_folder_becomes_a_node_for_each_picture_and_page(folder: Path, tmp_path: Path) -> None:
    nodes = load_images(folder, image_dir=tmp_path / "pages")
    assert [(node.metadata["file_name"], node.metadata.get("page_label")) for node in nodes] == [
        ("blue.png", None),
        ("doc.pdf", "1"),
        ("doc.pdf", "2"),
        ("red.png", None),
    ]
    for node in nodes:
        assert node.image_resource is not None
        assert node.image_resource.path is not None
        assert node.image_resource.path.is_absolute()
        assert node.image_resource.path.exists()
        assert not node.get_content()
        assert "sha256" not in node.get_metadata_str(MetadataMode.LLM)
        assert "file" not in node.get_metadata_str(MetadataMode.EMBED)


def test_ids_stay_and_a_replaced_file_is_another_node_to_caches(folder: Path) -> None:
    before = load_images(folder / "red.png")[0]
    (folder / "red.png").write_bytes(png("green"))
    after = load_images(str(folder / "red.p*"))[0]
    assert after.id_ == before.id_
    assert after.hash != before.hash


def test_pages_need_a_folder_to_be_drawn_into(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="image_dir"):
        load_images(folder)


# --- Every kind of input ---------------------------------------------------------------------------------------------


_BASE64 = base64.b64encode(png()).decode()
INPUTS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "text path": str,
    "ImageDocument of bytes": lambda _: ImageDocument(image=png()),
    "ImageDocument of a path": lambda path: ImageDocument(image_path=str(path)),
    "ImageNode of a path": lambda path: ImageNode(image_path=str(path)),
    "ImageNode of Base64": lambda _: ImageNode(image=_BASE64),
    "Node of a path": lambda path: Node(image_resource=MediaResource(path=path)),
    "Node of bytes": lambda _: Node(image_resource=MediaResource(data=png())),
    "Document": lambda path: Document(image_resource=MediaResource(path=path)),
    "data URL": lambda _: ImageNode(image_url=f"data:image/png;base64,{_BASE64}"),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_any_input_becomes_the_node_that_stores_keep(
    llm: MiniCPM, folder: Path, tmp_path: Path, run: Any, kind: str
) -> None:
    (node,) = run(MiniCPMImageCaptioner(llm=llm, image_dir=tmp_path / "kept"), [INPUTS[kind](folder / "red.png")])
    assert type(node) is Node
    assert "plain red" in node.get_content()
    assert node.image_resource is not None
    assert node.image_resource.path is not None
    assert node.image_resource.path.read_bytes() == png()
    assert node.image_resource.data is None
    assert node.image_resource.mimetype == "image/png"


def test_id_relationships_metadata_and_own_text_are_kept(llm: MiniCPM, folder: Path, run: Any) -> None:
    parent = TextNode(text="parent")
    given = ImageNode(
        id_="mine",
        text="Figure 3.",
        image_path=str(folder / "red.png"),
        metadata={"title": "A"},
        excluded_llm_metadata_keys=["title"],
        relationships={NodeRelationship.SOURCE: parent.as_related_node_info()},
    )
    (node,) = run(MiniCPMImageCaptioner(llm=llm), [given])
    assert node.id_ == "mine"
    assert node.ref_doc_id == parent.id_
    assert node.metadata["title"] == "A"
    assert node.get_content().startswith("Figure 3.\n\nA plain red")
    assert node.get_metadata_str(MetadataMode.LLM) == ""
    assert "image_sha256" in node.get_metadata_str(MetadataMode.ALL)
    (again,) = run(MiniCPMImageCaptioner(llm=llm), [node])
    assert again.get_content() == node.get_content()
    assert "image_sha256" not in given.metadata


def test_a_document_is_the_source_of_its_node(llm: MiniCPM, folder: Path) -> None:
    given = ImageDocument(image_path=str(folder / "red.png"))
    (node,) = MiniCPMImageCaptioner(llm=llm)([given])
    assert node.ref_doc_id == given.doc_id == node.id_


def test_what_has_no_picture_comes_out_as_it_is(llm: MiniCPM, emulator: EmulatorServer, run: Any) -> None:
    given = [TextNode(text="words"), Document(text="more")]
    assert run(MiniCPMImageCaptioner(llm=llm), given) == given
    assert not emulator.requests


def test_bytes_without_a_folder_are_an_error_that_says_so(llm: MiniCPM, run: Any) -> None:
    with pytest.raises(ConfigurationError, match="image_dir"):
        run(MiniCPMImageCaptioner(llm=llm, on_error="skip"), [ImageDocument(image=png())])


def test_bytes_are_written_once(llm: MiniCPM, tmp_path: Path, run: Any) -> None:
    captioner = MiniCPMImageCaptioner(llm=llm, image_dir=tmp_path)
    run(captioner, [ImageDocument(image=png("red")), ImageDocument(image=png("red")), ImageDocument(image=png("blue"))])
    (path, *_) = files = sorted(tmp_path.iterdir())
    written = path.stat().st_mtime_ns
    run(captioner, [ImageDocument(image=png("red")), ImageDocument(image=png("blue"))])
    assert sorted(tmp_path.iterdir()) == files
    assert len(files) == 2
    assert path.stat().st_mtime_ns == written


# --- The cache -------------------------------------------------------------------------------------------------------


def test_a_second_run_asks_for_what_is_missing(
    llm: MiniCPM, emulator: EmulatorServer, folder: Path, tmp_path: Path, run: Any
) -> None:
    captioner = MiniCPMImageCaptioner(llm=llm, cache_dir=tmp_path / "cache", image_dir=tmp_path / "pages")
    first = run(captioner, load_images(folder / "red.png"))
    both = run(captioner, load_images([folder / "red.png", folder / "blue.png"]))
    assert _chats(emulator) == 2
    assert both[1] == first[0]


def test_a_replaced_file_gets_a_caption_of_its_own(llm: MiniCPM, folder: Path, tmp_path: Path, run: Any) -> None:
    captioner = MiniCPMImageCaptioner(llm=llm, cache_dir=tmp_path / "cache")
    path = folder / "red.png"
    run(captioner, [path])
    path.write_bytes(png("yellow"))
    assert "yellow" in run(captioner, [path])[0].get_content()


def test_the_cache_is_that_of_the_core(emulator: EmulatorServer, llm: MiniCPM, folder: Path, tmp_path: Path) -> None:
    with MiniCPMClient(base_url=emulator.base_url, backend="vllm") as client:
        found = Captioner(client, cache=CaptionCache(tmp_path)).caption(folder / "red.png")
    (node,) = MiniCPMImageCaptioner(llm=llm, cache_dir=tmp_path)([folder / "red.png"])
    assert found.caption is not None
    assert node.get_content() == found.caption.text
    assert _chats(emulator) == 1


def test_the_pipeline_does_not_give_one_pictures_caption_to_another(llm: MiniCPM, tmp_path: Path) -> None:
    """LlamaIndex's cache has the same key for both: it looks at text and metadata only."""
    pipeline = IngestionPipeline(
        transformations=[MiniCPMImageCaptioner(llm=llm, image_dir=tmp_path)], cache=IngestionCache()
    )
    (red,) = pipeline.run(documents=[ImageDocument(image=png("red"))])
    (blue,) = pipeline.run(documents=[ImageDocument(image=png("blue"))])
    assert "red" in red.get_content()
    assert "blue" in blue.get_content()


def test_the_pipelines_cache_may_be_used_where_nodes_have_their_hash(
    llm: MiniCPM, emulator: EmulatorServer, folder: Path
) -> None:
    path = folder / "red.png"
    pipeline = IngestionPipeline(transformations=[MiniCPMImageCaptioner(llm=llm, ingestion_cache=True)])
    (first,) = pipeline.run(nodes=load_images(path))
    assert pipeline.run(nodes=load_images(path)) == [first]
    assert _chats(emulator) == 1
    path.write_bytes(png("yellow"))
    (other,) = pipeline.run(nodes=load_images(path))
    assert "yellow" in other.get_content()


@pytest.mark.slow
def test_a_pipeline_may_run_in_several_processes(
    emulator: EmulatorServer, llm: MiniCPM, folder: Path, tmp_path: Path
) -> None:
    captioner = MiniCPMImageCaptioner(llm=llm, cache_dir=tmp_path / "cache")
    pipeline = IngestionPipeline(transformations=[captioner])
    nodes = load_images(folder, image_dir=tmp_path / "pages")
    found = pipeline.run(nodes=nodes, num_workers=2)
    assert [node.id_ for node in found] == [node.id_ for node in nodes]
    assert all("pixels" in node.get_content() for node in found)
    assert _chats(emulator) == 4


# --- Errors ----------------------------------------------------------------------------------------------------------


def test_a_picture_that_fails_is_kept_by_its_name(
    llm: MiniCPM, emulator: EmulatorServer, folder: Path, run: Any
) -> None:
    (folder / "broken.png").write_bytes(png()[:40])
    nodes = load_images([folder / "broken.png", folder / "red.png"])
    broken, red = run(MiniCPMImageCaptioner(llm=llm, on_error="skip"), nodes)
    assert broken.metadata["caption_error"] == "InvalidMediaError"
    assert broken.get_content() == "broken.png"
    assert broken.image_resource is None
    assert "red" in red.get_content()
    emulator.inject("status=503")
    (later,) = run(MiniCPMImageCaptioner(llm=llm, on_error="skip"), nodes[1:])
    assert later.metadata["caption_error"] == "ServerError"
    assert later.image_resource is not None
    (mended,) = run(MiniCPMImageCaptioner(llm=llm), [later])
    assert "caption_error" not in mended.metadata
    assert mended.get_content() == red.get_content()


def test_a_failure_names_the_picture(llm: MiniCPM, emulator: EmulatorServer, folder: Path, run: Any) -> None:
    emulator.inject("status=503")
    with pytest.raises(ServerError) as caught:
        run(MiniCPMImageCaptioner(llm=llm), [folder / "red.png"])
    assert "red.png" in "".join(caught.value.__notes__)


def test_a_caption_that_is_cut_is_not_kept(
    llm: MiniCPM, emulator: EmulatorServer, folder: Path, tmp_path: Path, run: Any
) -> None:
    settings: dict[str, Any] = {"llm": llm, "cache_dir": tmp_path / "cache"}
    paths = [folder / "red.png", folder / "blue.png"]
    with pytest.raises(TruncatedReplyError) as caught:
        run(MiniCPMImageCaptioner(**settings, llm_kwargs={"max_tokens": 3}), paths[:1])
    assert "red.png" in "".join(caught.value.__notes__)
    run(MiniCPMImageCaptioner(**settings), paths[1:])
    cut, blue = run(MiniCPMImageCaptioner(**settings, llm_kwargs={"max_tokens": 3}, on_error="skip"), paths)
    assert cut.metadata["caption_error"] == "TruncatedReplyError"
    assert cut.get_content() == "red.png"
    assert "plain blue" in blue.get_content()
    (red,) = run(MiniCPMImageCaptioner(**settings, llm_kwargs={"max_tokens": 300}), paths[:1])
    assert "plain red" in red.get_content()
    assert _chats(emulator) == 4


async def test_where_it_is_cancelled_nothing_that_was_answered_is_lost(folder: Path, tmp_path: Path) -> None:
    cache = CaptionCache(tmp_path / "cache")
    with ScriptedServer(answers=[whole(completion("A picture.")), [Delay(60.0)]]) as server:
        captioner = MiniCPMImageCaptioner(
            llm=MiniCPM(base_url=server.base_url, backend="vllm"), cache_dir=cache.directory
        )
        working = asyncio.create_task(captioner.acall([folder / "red.png", folder / "blue.png"]))
        async with asyncio.timeout(20):
            while len(cache) < 1 or len(server.requests) < 2:  # noqa: ASYNC110 - another thread tells
                await asyncio.sleep(0.01)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert len(server.requests) == 2
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    assert len(cache) == 1


def test_a_file_that_is_replaced_while_it_is_captioned_is_not_kept(folder: Path, tmp_path: Path) -> None:
    path = folder / "red.png"
    with ScriptedServer(answers=[whole(completion("A caption of one or the other."))]) as server:

        class Replacing(MiniCPM):
            def chat(self, messages: Any, **kwargs: Any) -> Any:
                path.write_bytes(png("blue", (50, 50)))
                return super().chat(messages, **kwargs)

        llm = Replacing(base_url=server.base_url, backend="vllm")
        with pytest.raises(InvalidMediaError, match="replaced meanwhile"):
            MiniCPMImageCaptioner(llm=llm, cache_dir=tmp_path / "cache")([path])
    assert not list(CaptionCache(tmp_path / "cache"))


# --- Structured captions ---------------------------------------------------------------------------------------------


def test_a_structured_caption_is_text_and_fields(folder: Path, run: Any) -> None:
    fields = {"summary": "A chart.", "visible_text": "Sales", "tables": ["| a |\n|---|\n| 1 |"], "entities": ["ACME"]}
    with ScriptedServer(answers=[whole(completion(json.dumps(fields)))]) as server:
        llm = MiniCPM(base_url=server.base_url, backend="vllm")
        (node,) = run(MiniCPMImageCaptioner(llm=llm, structured=True), [folder / "red.png"])
        assert server.requests[-1].json["response_format"]["type"] == "json_schema"
    assert "| 1 |" in node.get_content()
    assert json.loads(node.metadata["caption_fields"]) == {"text": "", **fields}
    assert "caption_fields" not in node.get_metadata_str(MetadataMode.LLM)


# --- As a component --------------------------------------------------------------------------------------------------


def test_no_secret_leaves_it(llm: MiniCPM) -> None:
    captioner = MiniCPMImageCaptioner(llm=llm)
    for shown in (str(captioner.to_dict()), repr(captioner), str(pickle.dumps(captioner)), captioner.model_dump_json()):
        assert SECRET not in shown


def test_it_survives_a_dictionary_and_a_pickle(llm: MiniCPM, folder: Path, tmp_path: Path) -> None:
    captioner = MiniCPMImageCaptioner(llm=llm, cache_dir=tmp_path / "cache", num_workers=3)
    (first,) = captioner([folder / "red.png"])
    for copy in (MiniCPMImageCaptioner.from_dict(captioner.to_dict()), pickle.loads(pickle.dumps(captioner))):
        assert copy.num_workers == 3
        assert copy([folder / "red.png"]) == [first]


def test_progress_is_shown_where_asked(
    llm: MiniCPM, folder: Path, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run(MiniCPMImageCaptioner(llm=llm), [folder / "red.png"])
    assert capsys.readouterr().err == ""
    run(MiniCPMImageCaptioner(llm=llm), [folder / "red.png"], show_progress=True)
    shown = capsys.readouterr().err
    assert "Captioning images" in shown
    assert "1/1" in shown
