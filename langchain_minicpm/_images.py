"""Pictures into messages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from langchain_minicpm._guard import langchain_errors
from minicpm_core.backends import BACKENDS
from minicpm_core.errors import UnsupportedContentError
from minicpm_core.media import (
    image_from_bytes,
    image_from_file,
    image_from_path,
    image_from_pil,
    image_from_url,
    load_image,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from minicpm_core.parts import ImageSource

_ANY_TYPE: Final = frozenset[str]().union(*(backend.image_types for backend in BACKENDS.values()))
"""Types that some server takes; what a particular one does not is encoded again when it is sent there."""


def image_block(
    image: os.PathLike[str] | bytes | BinaryIO | Image | str, *, detail: str | None = None
) -> dict[str, Any]:
    """A standard image block for a message, of plain JSON types, so that it can be traced, stored and sent anywhere.

    The picture is read now, checked, and turned upright by its EXIF orientation.

    Args:
        image: A `pathlib.Path`, the file's bytes, a binary file object, a `PIL.Image.Image`, or a data URL. A path must
            be a `Path`: a string is never read as one, since it may come from a user or a model.
        detail: OpenAI's `detail` hint, passed on to the server.

    Returns:
        `{"type": "image", "base64": …, "mime_type": …}`.

    Raises:
        InvalidMediaError: It is no picture, is broken, or is too large.
        UnsupportedContentError: It is of a kind that cannot be sent.

    Example:
        ```python
        HumanMessage([{"type": "text", "text": "What is this?"}, image_block(Path("photo.jpg"))])
        ```
    """
    with langchain_errors():
        source = _source(image)
        if source.kind == "url":
            raise UnsupportedContentError(
                "An image at a URL is not fetched here: put {'type': 'image', 'url': …} into the message."
            )
        (part,) = load_image(source, accept=_ANY_TYPE)
    block: dict[str, Any] = {"type": "image", "base64": part.base64.decode("ascii"), "mime_type": part.media_type}
    if detail is not None:
        block["extras"] = {"detail": detail}
    return block


def _source(image: Any) -> ImageSource:
    if isinstance(image, str):
        return image_from_url(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return image_from_bytes(cast("bytes", image))
    if isinstance(image, os.PathLike):
        return image_from_path(cast("os.PathLike[str]", image))
    if hasattr(image, "read") and not hasattr(image, "getbands"):
        return image_from_file(image)
    return image_from_pil(image)
