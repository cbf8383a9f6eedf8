"""The inputs of the media benchmarks: a camera's photograph, a scanned page, a clip, and files to upload.

They are made of the photographs in `examples/photos` and of noise from fixed seeds, once, into a folder that git does
not know (`.benchmarks`, which `make clean` removes); another version of this file makes them anew.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[np.float32]

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT / "examples" / "photos"
FOLDER = ROOT / ".benchmarks" / f"media-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}"

PHOTO_SIZE = (4032, 3024)
PAGE_SIZE = (2480, 3508)
CLIP_SIZE = (1280, 720)
CLIP_FPS, CLIP_SECONDS, CLIP_BITS = 30, 20, 2_500_000
UPLOAD_BYTES = 5_000_000
LARGE_BYTES = 200_000_000

_TEXTURE = ((2, 4.0), (4, 5.0), (8, 6.0))
"""Detail that the small original lacks: noise in blobs of so many pixels, so many grey levels strong."""

_LINES = (
    "A page is scanned at three hundred dots to the inch, and holds some four hundred words.",
    "Its letters are small, dark and sharp, so that every pixel near their edges counts;",
    "the paper between them is nearly white, but never quite, since no lamp is even and",
    "no sensor is silent. Invoice 20417, position 8: 36 brackets at 4.75, in all 171.00.",
    "Whoever reads it wants the digits right, and cares little for the grain of the paper.",
)


def photo() -> Path:
    """12 megapixels as JPEG of quality 95, upright by its EXIF."""
    return _made("photo.jpg", _photo)


def scan_jpeg() -> Path:
    """An A4 page of text at 300 dpi as JPEG of quality 90."""
    return _made("scan.jpg", lambda: _saved(_page(), "JPEG", quality=90, dpi=(300, 300)))


def scan_png() -> Path:
    """The same page as PNG."""
    return _made("scan.png", lambda: _saved(_page(), "PNG", dpi=(300, 300)))


def clip() -> Path:
    """20 seconds of 720p, H.264 at 30 frames a second."""
    return _made("clip.mp4", _clip)


def upload() -> Path:
    """A JPEG of 5 MB, all of it pixels."""
    return _made("upload.jpg", _upload)


def large() -> Path:
    """The clip, made up to 200 MB by an empty box at its end: a true MP4, and nearly no bytes on the disk."""
    path = FOLDER / "large.mp4"
    if not path.exists():
        data = clip().read_bytes()
        free = LARGE_BYTES - len(data)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(data + free.to_bytes(4, "big") + b"free")
            file.truncate(LARGE_BYTES)
        partial.replace(path)
    return path


def _made(name: str, make: Callable[[], bytes]) -> Path:
    path = FOLDER / name
    if not path.exists():
        for old in FOLDER.parent.glob("media-*"):
            if old != FOLDER:
                shutil.rmtree(old)
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(make())
        partial.replace(path)
    return path


def _saved(image: Image.Image, form: str, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


def _enlarged(name: str, size: tuple[int, int]) -> Image.Image:
    """The middle of a photograph, in another size and shape."""
    with Image.open(PHOTOS / name) as file:
        image = file.convert("RGB")
    shape = size[0] / size[1]
    width, height = min(image.width, image.height * shape), min(image.height, image.width / shape)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return image.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))


def _textured(image: Image.Image, random: np.random.Generator) -> Pixels:
    pixels = np.asarray(image, dtype=np.float32)
    for blob, strength in _TEXTURE:
        grain = random.normal(128, 32, (image.height // blob, image.width // blob)).clip(0, 255).astype(np.uint8)
        smooth = Image.fromarray(grain).resize(image.size, Image.Resampling.BICUBIC)
        pixels = pixels + (np.asarray(smooth, dtype=np.float32)[:, :, None] - 128) * (strength / 32)
    return pixels


def _photographed(pixels: Pixels, random: np.random.Generator, noise: float) -> Image.Image:
    """With a sensor's noise: it grows with the square root of the light."""
    strength = noise * np.sqrt(0.3 + pixels.clip(0, 255) / 128)
    noisy = pixels + random.standard_normal(pixels.shape, dtype=np.float32) * strength
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _photo() -> bytes:
    random = np.random.default_rng(12)
    image = _photographed(_textured(_enlarged("coffee.jpg", PHOTO_SIZE), random), random, noise=5.5)
    exif = Image.Exif()
    exif[0x0112] = 1  # orientation: upright
    return _saved(image, "JPEG", quality=95, subsampling="4:2:2", exif=exif)


def _page() -> Image.Image:
    page = Image.new("RGB", PAGE_SIZE, (250, 249, 246))
    draw = ImageDraw.Draw(page)
    font, title = ImageFont.load_default(46), ImageFont.load_default(84)
    draw.text((220, 240), "Report on a scanned page", fill=(25, 25, 30), font=title)
    for number in range(42):
        draw.text((220, 430 + 68 * number), _LINES[number % len(_LINES)], fill=(25, 25, 30), font=font)
    return _photographed(np.asarray(page, dtype=np.float32), np.random.default_rng(4), noise=1.0)


def _clip() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=CLIP_FPS, options={"preset": "veryfast"})
        stream.width, stream.height = CLIP_SIZE
        stream.pix_fmt, stream.bit_rate = "yuv420p", CLIP_BITS
        stream.codec_context.thread_count = 2  # its rate control depends on how many there are
        for frame in _moving():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _moving() -> Iterator[NDArray[np.uint8]]:
    """The three photographs in turn, panned and zoomed into, each frame with noise of its own."""
    random = np.random.default_rng(720)
    names = ("coffee.jpg", "rocket.jpg", "cat.jpg")
    width, height = CLIP_SIZE
    shape = (height, width, 3)
    noises = [random.normal(0, 3, shape).astype(np.int16) for _ in range(7)]
    frames = CLIP_FPS * CLIP_SECONDS
    for number in range(frames):
        scene, at = divmod(number * len(names) / frames, 1)
        if number == 0 or int(scene) != int((number - 1) * len(names) / frames):
            still = _photographed(_textured(_enlarged(names[int(scene)], (1920, 1080)), random), random, noise=1.0)
        zoom = 1.4 - 0.4 * at
        left, top = (1920 - width * zoom) * at, (1080 - height * zoom) * (1 - at)
        box = (left, top, left + width * zoom, top + height * zoom)
        frame = np.asarray(still.resize(CLIP_SIZE, Image.Resampling.BILINEAR, box=box), dtype=np.int16)
        yield (frame + noises[number % len(noises)]).clip(0, 255).astype(np.uint8)


def _upload() -> bytes:
    """The highest quality at which it stays within 5 MB."""
    random = np.random.default_rng(5)
    image = _photographed(_textured(_enlarged("rocket.jpg", (3360, 2240)), random), random, noise=5.0)
    for quality in range(97, 50, -1):
        data = _saved(image, "JPEG", quality=quality, subsampling="4:4:4")
        if len(data) <= UPLOAD_BYTES:
            return data
    raise AssertionError("No quality is low enough.")
