"""Pictures in nodes: where a node has one, its bytes, and the node that carries a caption beside it.

The node that comes out is always `Node(text_resource=caption, image_resource=path)`: the only shape whose caption and
picture both survive LlamaIndex's stores, and both reach the model in its multimodal engines.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_index.core.schema import ImageNode, MediaResource, Node, NodeRelationship

from llama_index_minicpm._messages import image_source
from minicpm_core.backends import BACKENDS
from minicpm_core.captions import PROMPT_VERSION, Picture
from minicpm_core.errors import ConfigurationError
from minicpm_core.media import base64text
from minicpm_core.media.prepare import Preparer
from minicpm_core.models import card_for

if TYPE_CHECKING:
    from llama_index.core.schema import BaseNode

    from minicpm_core.captions import Caption
    from minicpm_core.config import ClientConfig

SHA256: Final = "image_sha256"
MODEL: Final = "caption_model"
PROMPT: Final = "caption_prompt"
FIELDS: Final = "caption_fields"
ERROR: Final = "caption_error"
OWN_TEXT: Final = "caption_follows"
_FACTS = (SHA256, MODEL, PROMPT, FIELDS, ERROR, OWN_TEXT)
HIDDEN = ("file_path", *_FACTS)
"""Metadata that neither the model nor an embedding sees. They are in the keys of caches, which see all metadata."""
UNEMBEDDED = ("file_name", "page_label")
"""Metadata that the model sees, so that it can say where something stands, and an embedding does not."""

_ENDINGS = {
    "image/avif": ".avif", "image/bmp": ".bmp", "image/gif": ".gif", "image/jpeg": ".jpg", "image/png": ".png",
    "image/tiff": ".tiff", "image/webp": ".webp",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shown:
    """The picture of a node, as the model is shown it.

    Attributes:
        picture: Its bytes.
        path: The file that has them.
        stamp: Of the file, before it was read; `None` of one that is named by its content, which does not change.
    """

    picture: Picture
    path: Path
    stamp: tuple[int, int, int] | None

    @property
    def changed(self) -> bool:
        """Whether the file was replaced since it was read."""
        return self.stamp is not None and self.stamp != stamp(self.path)


def has_picture(node: BaseNode) -> bool:
    """Whether there is a picture in a node, wherever it is."""
    if isinstance(node, ImageNode):
        return bool(node.image or node.image_path or node.image_url)
    resource = node.image_resource if isinstance(node, Node) else None
    return resource is not None and bool(resource.data or resource.path or resource.url)


def show(node: BaseNode, config: ClientConfig, image_dir: Path | None) -> Shown:
    """Read a node's picture. One that is not in a file is written to `image_dir`, once. Blocks.

    Args:
        node: It has a picture.
        config: What may be read and fetched.
        image_dir: For pictures that are not in files.

    Raises:
        InvalidMediaError: It cannot be read.
        ConfigurationError: There is no file, and no `image_dir`; or that cannot be written to.
    """
    source = image_source(node)
    path = Path(source.value) if source.kind == "path" else None
    before = stamp(path) if path is not None else None
    read = Preparer(BACKENDS["generic"], card_for(config.model), config.media).read(source, config.media.media_limits)
    picture = Picture.of(read.data if read.data is not None else base64text.decode(read.text))
    if path is None:
        path = written(picture, image_dir)
    return Shown(picture, path, before)


def stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written to or replaced; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:  # reading it says why
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def written(picture: Picture, image_dir: Path | None) -> Path:
    """The picture's file in a folder, named by the hash of its content, and written if it is not there.

    Raises:
        ConfigurationError: There is no folder, or it cannot be written to.
    """
    if image_dir is None:
        raise ConfigurationError(
            "A picture in bytes, at a URL or on a page of a PDF has no file of its own, and stores of nodes keep paths "
            "only: give image_dir=…, a folder that such pictures are written to."
        )
    path = image_dir / f"{picture.sha256}{_ENDINGS.get(picture.media_type or '', '.bin')}"
    if path.exists():
        return path
    try:
        image_dir.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=image_dir)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(picture.data)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"image_dir {str(image_dir)!r} cannot be written to: {error.strerror}.") from error
    return path


def resource(path: Path, media_type: str | None) -> MediaResource:
    """A picture in a file, as nodes hold it."""
    return MediaResource(path=path, mimetype=media_type)


def hidden(node: Node) -> Node:
    """The node, with the metadata that is not to be read hidden."""
    for keys, more in (
        (node.excluded_llm_metadata_keys, HIDDEN),
        (node.excluded_embed_metadata_keys, (*HIDDEN, *UNEMBEDDED)),
    ):
        keys += [key for key in more if key not in keys]
    return node


def captioned(node: BaseNode, shown: Shown, caption: Caption, *, model: str, prompt: str) -> Node:
    """The node with its caption.

    Args:
        node: What came in.
        shown: Its picture.
        caption: What was read off it.
        model: Which model did.
        prompt: The words that it was asked with.
    """
    facts = {SHA256: shown.picture.sha256, MODEL: model, PROMPT: _version(prompt)}
    if caption.structured:
        facts[FIELDS] = json.dumps(caption.to_dict(), ensure_ascii=False)
    image = resource(shown.path, shown.picture.media_type)
    return _carrying(node, caption.to_text(), image, facts)


def uncaptioned(node: BaseNode, shown: Shown | None, error: Exception) -> Node:
    """The node without a caption: its text is what it had, or else the picture's name, so that it can still be found.

    Args:
        node: What came in.
        shown: Its picture; `None` where it could not be read, and is left out, since no model could be shown it.
        error: What went wrong.
    """
    facts: dict[str, Any] = {ERROR: type(error).__name__}
    if shown is not None:
        facts[SHA256] = shown.picture.sha256
    image = None if shown is None else resource(shown.path, shown.picture.media_type)
    return _carrying(node, "" if _own_text(node) else _name(node, shown), image, facts)


def _version(prompt: str) -> str:
    return f"{PROMPT_VERSION}-{hashlib.sha256(prompt.encode()).hexdigest()[:12]}"


def _name(node: BaseNode, shown: Shown | None) -> str:
    name = node.metadata.get("file_name") or (shown.path.name if shown is not None else "a picture")
    page = node.metadata.get("page_label")
    return f"{name}, page {page}" if page else str(name)


def _own_text(node: BaseNode) -> str:
    """The text that a node came with. A caption of an earlier run is none of it."""
    before = MODEL in node.metadata or ERROR in node.metadata
    return str(node.metadata.get(OWN_TEXT, "")) if before else node.get_content().strip()


def _carrying(node: BaseNode, text: str, image: MediaResource | None, facts: dict[str, Any]) -> Node:
    kept = {key: value for key, value in node.metadata.items() if key not in _FACTS}
    own = _own_text(node)
    if own:
        facts[OWN_TEXT] = own
    relationships = dict(node.relationships)
    if isinstance(node, Node) and node.class_name() in {"Document", "ImageDocument"}:
        relationships.setdefault(NodeRelationship.SOURCE, node.as_related_node_info())  # as LlamaIndex's splitters do
    fields: dict[str, Any] = {
        "id_": node.id_,
        "metadata": kept | facts,
        "excluded_embed_metadata_keys": list(node.excluded_embed_metadata_keys),
        "excluded_llm_metadata_keys": list(node.excluded_llm_metadata_keys),
        "relationships": relationships,
        "metadata_template": node.metadata_template,
        "metadata_separator": node.metadata_separator,
        "text_resource": MediaResource(text="\n\n".join(filter(None, (own, text)))),
        "image_resource": image,
    }
    if isinstance(node, Node):
        fields |= {"audio_resource": node.audio_resource, "video_resource": node.video_resource}
    return hidden(Node(**fields))
