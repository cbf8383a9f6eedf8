"""Pictures made in memory for the tests, and the way back to pixels."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any, cast

from PIL import Image, ImageChops, ImageDraw

if TYPE_CHECKING:
    from minicpm_core.parts import ImagePart

PNG_AND_JPEG = frozenset({"image/png", "image/jpeg"})
EVERYTHING = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 160, 60), (40, 60, 220), (250, 250, 250)


def quarters(size: tuple[int, int] = (64, 32)) -> Image.Image:
    """Four colours in four quarters, so that every turn and mirroring shows."""
    width, height = size
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(WHITE, (width // 2, height // 2, width, height))
    return image


def photo(size: tuple[int, int] = (600, 500)) -> Image.Image:
    """What a camera might see: soft shapes, and the noise of a sensor in each channel."""
    soft = quarters((16, 12)).resize(size, Image.Resampling.BICUBIC)
    noise = Image.merge("RGB", [Image.effect_noise(size, 5) for _ in range(3)])
    return ImageChops.add(soft, noise, 1, -128)


def screenshot(size: tuple[int, int] = (600, 500)) -> Image.Image:
    """What a program draws: lines of text on a flat ground, a coloured bar, a button."""
    image = Image.new("RGB", size, (245, 246, 248))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, size[0], 40), fill=BLUE)
    draw.rounded_rectangle((20, 60, 160, 100), 8, fill=GREEN)
    for line in range(120, size[1] - 20, 22):
        draw.text((20, line), "The quick brown fox jumps over the lazy dog. " * (size[0] // 250 + 1), fill="black")
    return image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(size: tuple[int, int] = (64, 32)) -> bytes:
    return encoded(quarters(size), "PNG")


def jpeg(size: tuple[int, int] = (64, 32), **options: Any) -> bytes:
    return encoded(quarters(size), "JPEG", quality=95, subsampling=0, **options)


def animated(kind: str, **options: Any) -> bytes:
    return encoded(quarters(), kind, save_all=True, append_images=[Image.new("RGB", (64, 32), "black")], **options)


def exif_block(orientation: int, order: str = "<") -> bytes:
    """The smallest EXIF block that holds an orientation."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + head + struct.pack(f"{order}IH", 8, 1) + entry + b"\0\0\0\0"


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_size(width: int, height: int) -> bytes:
    """A well-formed PNG that promises a size and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def one(parts: tuple[ImagePart, ...]) -> ImagePart:
    """The only picture that came out."""
    (part,) = parts
    return part


def content(part: ImagePart) -> bytes:
    """The file in a part."""
    return base64.b64decode(part.base64, validate=True)


def shown(part: ImagePart) -> Image.Image:
    """The picture in a part, as a server that knows no EXIF would see it."""
    image = Image.open(io.BytesIO(content(part)))
    image.load()
    return image


def colour(image: Image.Image, at: tuple[int, int] = (5, 5)) -> tuple[int, int, int]:
    """Red, green and blue of one pixel."""
    return cast("tuple[int, int, int]", image.convert("RGB").getpixel(at))


def difference(one: Image.Image, other: Image.Image) -> int:
    """The greatest difference of any sample of two RGB pictures; 255 where their sizes differ."""
    if one.size != other.size:
        return 255
    a, b = one.convert("RGB").tobytes(), other.convert("RGB").tobytes()
    return max(abs(x - y) for x, y in zip(a, b, strict=True))
