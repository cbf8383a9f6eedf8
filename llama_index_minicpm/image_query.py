"""Answers from pictures: what the engines of LlamaIndex show the model, and which picture an answer cites."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MediaResource, Node, NodeWithScore
from typing_extensions import override

from llama_index_minicpm._image_nodes import has_picture
from llama_index_minicpm._messages import image_source
from llama_index_minicpm.llm import MiniCPM
from minicpm_core.backends import BACKENDS
from minicpm_core.errors import MiniCPMError
from minicpm_core.media.prepare import Preparer
from minicpm_core.models import card_for
from minicpm_core.parts import ImagePart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llama_index.core.schema import BaseNode, QueryBundle

_MARK = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")


class MiniCPMImagePostprocessor(BaseNodePostprocessor):
    """Scales the pictures of retrieved nodes down to what the model looks at, before an engine puts them into a prompt.

    `index.as_query_engine(llm=llm, multimodal=True, node_postprocessors=[MiniCPMImagePostprocessor(llm=llm)])`

    Without it an answer is the same, since `MiniCPM` scales pictures by the same rule before it sends them; but
    LlamaIndex puts the whole file through a text template first, on the event loop: 0.1 s for each megabyte.  With it,
    reading and scaling happen in a thread.  The nodes of the index are not changed.

    Attributes:
        llm: Whose settings say how much of a picture is sent (`image_detail`).
        max_images: The most pictures that are shown; of the nodes after these, the captions stay. `None` shows all.
        on_error: What becomes of a picture that cannot be read, such as one whose file is gone: `skip` leaves the
            caption, `raise` raises the error.
    """

    llm: MiniCPM
    max_images: int | None = Field(default=None, ge=0)
    on_error: Literal["raise", "skip"] = "skip"

    @classmethod
    @override
    def class_name(cls) -> str:
        """The name in serialised form."""
        return "MiniCPMImagePostprocessor"

    @override
    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        left = len(nodes) if self.max_images is None else self.max_images
        found: list[NodeWithScore] = []
        for scored in nodes:
            if not (isinstance(scored.node, Node) and has_picture(scored.node)):
                found.append(scored)
                continue
            image = self._image(scored.node) if left > 0 else None
            left -= image is not None
            found.append(
                NodeWithScore(node=scored.node.model_copy(update={"image_resource": image}), score=scored.score)
            )
        return found

    def _image(self, node: BaseNode) -> MediaResource | None:
        config = self.llm._config()  # noqa: SLF001 - of this package
        backend = BACKENDS["generic"]  # its two types, JPEG and PNG, are taken by every server
        try:
            (part, *_) = Preparer(backend, card_for(config.model), config.media).prepare(image_source(node))
        except MiniCPMError:
            if self.on_error == "raise":
                raise
            return None
        if not isinstance(part, ImagePart):  # at a URL that the server is to fetch itself
            return node.image_resource if isinstance(node, Node) else None
        kept = node.image_resource.path if isinstance(node, Node) and node.image_resource else None
        return MediaResource(data=base64.b64decode(part.base64), path=kept, mimetype=part.media_type)


@dataclass(frozen=True, slots=True)
class ImageCitation:
    """A picture or page that an answer refers to.

    Attributes:
        number: As it stands in the answer: `[2]`.
        file_name: Of the picture or document.
        page: Of the document, counted from 1; `None` for a picture.
        file_path: Where it is.
        node: The node, with caption and score.
    """

    number: int
    file_name: str
    page: int | None
    file_path: str | None
    node: NodeWithScore

    def __str__(self) -> str:
        """`[2] report.pdf, page 3`."""
        return f"[{self.number}] {self.file_name}" + ("" if self.page is None else f", page {self.page}")


def image_citations(response: Any, nodes: Sequence[NodeWithScore] | None = None) -> list[ImageCitation]:
    """Which pictures an answer cites, by the numbers in brackets that `CitationQueryEngine` has the model write.

    Each once, in the order of the answer; numbers that no source has are left out.

    Args:
        response: What a query engine gave back, or its text.
        nodes: The sources, the first of which is `[1]`; `None` for the response's own.
    """
    sources = list(response.source_nodes if nodes is None else nodes)
    cited = [int(number) for mark in _MARK.findall(str(response)) for number in mark.split(",")]
    return [_citation(number, sources[number - 1]) for number in dict.fromkeys(cited) if 0 < number <= len(sources)]


def _citation(number: int, source: NodeWithScore) -> ImageCitation:
    metadata = source.node.metadata
    page = str(metadata.get("page_label") or "")
    path = metadata.get("file_path")
    return ImageCitation(
        number=number,
        file_name=str(metadata.get("file_name") or path or source.node.node_id),
        page=int(page) if page.isdecimal() else None,
        file_path=None if path is None else str(path),
        node=source,
    )
