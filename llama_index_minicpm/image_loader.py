"""Pictures in files as nodes. LlamaIndex's own reader takes the bytes of a PNG for text where it finds no other way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from llama_index.core.schema import MediaResource, Node, NodeRelationship

from llama_index_minicpm._image_nodes import SHA256, hidden, resource, written
from minicpm_core.captions import find_media

if TYPE_CHECKING:
    import os

    from minicpm_core.captions import MediaPage
    from minicpm_core.captions.sources import MediaPaths, Unreadable


def load_images(
    paths: MediaPaths,
    *,
    image_dir: str | os.PathLike[str] | None = None,
    recursive: bool = True,
    unreadable: Unreadable | None = None,
) -> list[Node]:
    """The pictures, and the pages of the PDFs, in files, folders or patterns: one node for each, without text.

    A file is a picture or a PDF by its first bytes; in folders, others are passed over.  The nodes' ids are made of
    path and page, so that the same file has the same id the next time.  Their metadata are `file_path`, `file_name`,
    `page_label` (of a page) and `image_sha256`: with the last, a replaced file is another node to every cache.

    Args:
        paths: A file, a folder, a pattern such as `photos/**/*.jpg`, or several of these.
        image_dir: A folder that pages of PDFs are drawn into, as files named by their content.
        recursive: Look into folders within folders.
        unreadable: Told of a PDF that cannot be opened, which is then left out; `None` raises its error.

    Returns:
        In the order of paths and pages.

    Raises:
        InvalidMediaError: A path does not exist or is no picture or PDF, or a file cannot be read.
        ConfigurationError: There is a PDF and no `image_dir`, or pypdfium2 is not installed.
    """
    folder = None if image_dir is None else Path(image_dir).expanduser()
    return [_node(page, folder) for page in find_media(paths, recursive=recursive, unreadable=unreadable)]


def _node(page: MediaPage, image_dir: Path | None) -> Node:
    picture = page.read()
    path = page.path if page.page is None else written(picture, image_dir)
    where = page.path.absolute()
    metadata: dict[str, Any] = {"file_path": str(where), "file_name": where.name, SHA256: picture.sha256}
    named = where.as_uri()
    if page.page is not None:
        metadata["page_label"] = str(page.page)
        named += f"#page={page.page}"
    node = Node(
        id_=str(uuid5(NAMESPACE_URL, named)),
        text_resource=MediaResource(text=""),  # a node without any keeps its metadata out of the keys of caches
        image_resource=resource(path.absolute(), picture.media_type),
    )
    node.metadata = metadata
    # Each page is a source of its own: the upserts of pipelines keep one node for each source.
    node.relationships[NodeRelationship.SOURCE] = node.as_related_node_info()
    return hidden(node)
