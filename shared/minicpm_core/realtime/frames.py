"""Camera frames: whatever picture is given becomes a JPEG of the size that the model sees.

With one slice, which is what live video is for, the model sees 448 by 448 pixels of a frame, whatever its shape; the
vendor's page sends the whole camera picture, which costs bandwidth and changes nothing.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import ConfigurationError, InvalidMediaError
from minicpm_core.media.images import load_image
from minicpm_core.media.sources import NEEDS_PILLOW, image_from_bytes, image_from_pil

if TYPE_CHECKING:
    from minicpm_core.parts import ImageSource

_QUALITY = 80
_COLOUR_SHAPE = 3


def to_jpeg(image: Any) -> bytes:
    """A frame as it is sent.

    Args:
        image: Bytes of a picture, a Pillow image, or an array of height, width and 3 colours in uint8.

    Raises:
        InvalidMediaError: It is no picture, or broken.
        UnsupportedContentError: It is of a kind that cannot be sent.
        ConfigurationError: Pillow is not installed, and the picture is no JPEG that is small enough.
    """
    (part,) = load_image(picture_source(image), accept=frozenset({"image/jpeg"}), detail="low", quality=_QUALITY)
    return binascii.a2b_base64(part.base64)


def picture_source(image: Any) -> ImageSource:
    """A picture in memory. An array is copied at once: cameras fill the same one again and again.

    Args:
        image: As above.

    Raises:
        InvalidMediaError: It is none of these.
        ConfigurationError: Pillow is not installed, and it is an array.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        data: Any = image  # pyright: ignore[reportUnknownVariableType] - of whatever items
        return image_from_bytes(bytes(data))
    if hasattr(image, "__array_interface__") and not hasattr(image, "getexif"):
        image = _from_array(image)
    return image_from_pil(image)


def _from_array(array: Any) -> Any:
    shape, kind = tuple(array.shape), str(array.dtype)
    if len(shape) != _COLOUR_SHAPE or shape[2] != _COLOUR_SHAPE or kind != "uint8" or 0 in shape:
        raise InvalidMediaError(f"A picture has height, width and 3 colours in uint8, not {shape} in {kind}.")
    try:
        from PIL import Image
    except ImportError as error:
        raise ConfigurationError(f"An array was given as a picture. {NEEDS_PILLOW}") from error
    return Image.frombytes("RGB", (shape[1], shape[0]), array.tobytes())
