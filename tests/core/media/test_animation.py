"""Of an animation or a file of several pages, the first or all are sent, within bounds."""

from __future__ import annotations

import io
import itertools
import struct
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, features

from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import MediaLimits, image_from_bytes, image_from_pil, load_image
from tests.core.media.pictures import (
    EVERYTHING,
    PNG_AND_JPEG,
    colour,
    content,
    encoded,
    exif_block,
    jpeg,
    one,
    png,
    shown,
)

if TYPE_CHECKING:
    from minicpm_core.parts import ImagePart

KINDS: dict[str, dict[str, Any]] = {
    "GIF": {},
    "WEBP": {"lossless": True},
    "PNG": {},
    "TIFF": {},
}


def moving(kind: str, frames: int, size: tuple[int, int] = (32, 16)) -> bytes:
    """Frames whose red tells their number."""
    images = [Image.new("RGB", size, (number * 4, 255 - number * 4, 90)) for number in range(frames)]
    return encoded(images[0], kind, save_all=True, append_images=images[1:], **KINDS[kind])


def load(data: bytes, accept: frozenset[str] = PNG_AND_JPEG, **settings: Any) -> tuple[ImagePart, ...]:
    return load_image(image_from_bytes(data), accept=accept, **settings)


def numbers(parts: tuple[ImagePart, ...]) -> list[int]:
    return [round(colour(shown(part))[0] / 4) for part in parts]


@pytest.mark.parametrize("accept", [PNG_AND_JPEG, EVERYTHING], ids=["refused", "taken"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_frames_are_sent_in_order(kind: str, accept: frozenset[str]) -> None:
    assert numbers(load(moving(kind, 5), accept, frames="all")) == [0, 1, 2, 3, 4]


def test_an_avif_sequence_is_one_too() -> None:
    if not features.check("avif"):
        pytest.skip("this Pillow cannot write it")
    images = [Image.new("RGB", (32, 16), colour_) for colour_ in ("red", "lime", "blue")]
    data = encoded(images[0], "AVIF", save_all=True, append_images=images[1:])
    brightest = [max(range(3), key=colour(shown(part)).__getitem__) for part in load(data, frames="all")]
    assert brightest == [0, 1, 2]
    assert len(load(data)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_unless_asked_the_first_alone_is_sent(kind: str) -> None:
    assert numbers(load(moving(kind, 5))) == [0]


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_frames_32_are_taken_evenly(kind: str) -> None:
    found = numbers(load(moving(kind, 62), frames="all"))
    assert len(found) == 32
    assert found[0] == 0
    assert {after - before for before, after in itertools.pairwise(found)} <= {1, 2}
    assert found[-1] >= 60


@pytest.mark.parametrize("data", [png(), jpeg(), encoded(Image.new("P", (9, 9)), "GIF")], ids=["png", "jpeg", "gif"])
def test_a_still_picture_is_sent_as_it_is_where_all_frames_are_wanted(data: bytes) -> None:
    assert content(one(load(data, EVERYTHING, frames="all", detail="auto"))) == data


def test_pages_may_have_sizes_of_their_own_and_each_is_reduced() -> None:
    pages = [Image.new("RGB", size, "red") for size in ((2000, 1500), (30, 40), (1500, 2000))]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    parts = load(data, frames="all", detail="low")
    assert [(part.width, part.height) for part in parts] == [(516, 387), (30, 40), (387, 516)]


def test_every_page_is_held_to_the_limit() -> None:
    pages = [Image.new("L", (10, 10)), Image.new("L", (200, 200))]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(InvalidMediaError, match="200 x 200"):
        load(data, frames="all", limits=MediaLimits(max_pixels=10_000))


def test_an_animation_of_endless_pixels_counts_as_if_it_ended() -> None:
    """Each frame builds on those before it: a few kilobytes could keep a process busy for minutes."""
    data = moving("GIF", 60, (100, 100))
    parts = load(data, frames="all", limits=MediaLimits(max_pixels=50_000))
    assert numbers(parts) == list(range(20))


def test_every_frame_is_turned_upright() -> None:
    images = [Image.new("RGB", (40, 20), "red"), Image.new("RGB", (40, 20), "blue")]
    data = encoded(images[0], "WEBP", save_all=True, append_images=images[1:], exif=exif_block(6))
    assert [(part.width, part.height) for part in load(data, frames="all")] == [(20, 40)] * 2


def test_frames_that_change_only_a_part_are_whole() -> None:
    first = Image.new("RGB", (40, 20), "white")
    second = first.copy()
    second.paste((200, 0, 0), (30, 10, 40, 20))
    seen = [shown(part) for part in load(encoded(first, "GIF", save_all=True, append_images=[second]), frames="all")]
    assert [image.size for image in seen] == [(40, 20), (40, 20)]
    assert colour(seen[1], (2, 2)) == pytest.approx((255, 255, 255), abs=3)
    assert colour(seen[1], (35, 15)) == pytest.approx((200, 0, 0), abs=3)


def test_of_a_pil_image_the_current_frame_is_sent() -> None:
    with Image.open(io.BytesIO(moving("GIF", 4))) as image:
        image.seek(2)
        assert numbers(load_image(image_from_pil(image), accept=PNG_AND_JPEG, frames="all")) == [2]
        assert image.tell() == 2


def test_a_tiff_whose_pages_go_round_in_a_circle_ends() -> None:
    data = bytearray(moving("TIFF", 1))
    (table,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, table)
    struct.pack_into("<I", data, table + 2 + 12 * entries, table)
    assert numbers(load(bytes(data), frames="all")) == [0]
