"""An agent that sends the same pictures again does not prepare them again, and never gets another one's."""

from __future__ import annotations

import base64
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from minicpm_core.errors import ConfigurationError, InvalidMediaError
from minicpm_core.media import MediaLimits, image_from_base64, image_from_bytes, image_from_pil, load_image
from minicpm_core.media.cache import (
    CacheInfo,
    PictureCache,
    clear_image_cache,
    image_cache_info,
    set_image_cache_bytes,
)
from minicpm_core.parts import ImagePart
from tests.core.media.pictures import (
    PNG_AND_JPEG,
    animated,
    colour,
    encoded,
    exif_block,
    jpeg,
    one,
    png,
    quarters,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.parts import ImageSource

TURNED = jpeg(exif=exif_block(6))
SOURCES: dict[str, Callable[[], ImageSource]] = {
    "bytes": lambda: image_from_bytes(TURNED),
    "base64": lambda: image_from_base64(base64.b64encode(TURNED)),
    "long-base64": lambda: image_from_base64(base64.b64encode(jpeg((2000, 1500), exif=exif_block(6)))),
    "pil": lambda: image_from_pil(quarters()),
}


def counts() -> tuple[int, int, int]:
    info = image_cache_info()
    return info.hits, info.misses, info.entries


def load(source: ImageSource, **settings: Any) -> tuple[ImagePart, ...]:
    return load_image(source, accept=PNG_AND_JPEG, **settings)


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_the_second_time_nothing_is_done(make: Callable[[], ImageSource]) -> None:
    first, second = load(make()), load(make())
    assert first == second
    assert first[0].base64 is second[0].base64
    assert counts() == (1, 1, 1)


def test_a_file_that_is_sent_as_it_is_is_not_kept() -> None:
    load(image_from_bytes(png()), detail="auto")
    assert image_cache_info() == CacheInfo(0, 0, 0, 0, 64 * 1024 * 1024)


@pytest.mark.parametrize(
    "settings",
    [
        {"accept": frozenset({"image/png"})},
        {"detail": "low"},
        {"max_slices": 4},
        {"quality": 50},
        {"frames": "all"},
        {"limits": MediaLimits(max_pixels=5000)},
    ],
    ids=str,
)
def test_every_setting_makes_another_entry(settings: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"accept": PNG_AND_JPEG}
    load_image(image_from_bytes(TURNED), **plain)
    load_image(image_from_bytes(TURNED), **{**plain, **settings})
    assert counts() == (0, 2, 2)


def test_a_stricter_limit_is_not_got_round() -> None:
    load(image_from_bytes(TURNED))
    with pytest.raises(InvalidMediaError, match="too large"):
        load(image_from_bytes(TURNED), limits=MediaLimits(max_pixels=100))


def test_a_pictures_own_detail_is_not_kept_with_it() -> None:
    (hinted,) = load(image_from_bytes(TURNED, detail="low"), detail="auto")
    (plain,) = load(image_from_bytes(TURNED), detail="low")
    assert (hinted.detail, plain.detail) == ("low", None)
    assert counts()[0] == 1


def test_pil_images_that_differ_in_anything_visible_are_told_apart() -> None:
    base = Image.new("P", (8, 8), 1)
    base.putpalette([0, 0, 0, 200, 0, 0])
    blue = base.copy()
    blue.putpalette([0, 0, 0, 0, 0, 200])
    clear = base.copy()
    clear.info["transparency"] = 1
    turned = Image.new("RGB", (8, 8))
    turned.info["exif"] = exif_block(6)
    images = [base, blue, clear, turned, Image.new("RGB", (8, 8)), Image.new("RGB", (4, 16)), Image.new("L", (8, 8))]
    seen = [colour(shown(one(load(image_from_pil(image)))), (1, 1)) for image in images]
    assert seen[:3] == [(200, 0, 0), (0, 0, 200), (255, 255, 255)]
    assert counts() == (0, len(images), len(images))


def test_a_pil_image_that_was_changed_is_prepared_anew() -> None:
    image = quarters()
    load(image_from_pil(image))
    image.paste((1, 2, 3), (0, 0, 64, 32))
    assert colour(shown(one(load(image_from_pil(image))))) == (1, 2, 3)


def test_an_error_is_not_kept() -> None:
    tables = TURNED.index(b"\xff\xc4") + 4
    broken = TURNED[:tables] + bytes(60) + TURNED[tables + 60 :]
    for _ in range(2):
        with pytest.raises(InvalidMediaError):
            load(image_from_bytes(broken))
    assert counts() == (0, 2, 0)


def test_what_turns_out_to_need_nothing_is_found_out_once() -> None:
    """An RGBA picture has to be decoded to know that nothing shows through."""
    data = encoded(quarters().convert("RGBA"), "PNG")
    for _ in range(2):
        assert base64.b64decode(one(load(image_from_bytes(data), detail="auto")).base64) == data
    assert counts() == (1, 1, 1)


def part(size: int, fill: bytes = b"A") -> tuple[ImagePart, ...]:
    return (ImagePart(fill * size, "image/png", 1, 1),)


class TestBounds:
    def test_the_least_recently_used_go_first(self) -> None:
        cache = PictureCache(10_000)
        for name in "abc":
            cache.put(name, part(2500))
        assert cache.get("a")
        cache.put("d", part(2500))
        assert [cache.get(name) is not None for name in "abcd"] == [True, False, True, True]
        assert cache.info().bytes <= 10_000

    def test_what_is_larger_than_the_cache_drops_nothing(self) -> None:
        cache = PictureCache(10_000)
        cache.put("small", part(100))
        cache.put("large", part(20_000))
        assert (cache.get("small"), cache.get("large")) == (part(100), None)

    def test_putting_a_key_again_replaces_it(self) -> None:
        cache = PictureCache(10_000)
        cache.put("a", part(3000))
        cache.put("a", part(10))
        assert cache.get("a") == part(10)
        assert cache.info().bytes < 1000
        cache.put("a", part(20_000))
        assert cache.get("a") is None
        assert cache.info().bytes == 0

    def test_making_it_smaller_drops_what_is_too_much(self) -> None:
        load(image_from_bytes(TURNED))
        set_image_cache_bytes(0)
        assert image_cache_info()[2:] == (0, 0, 0)
        load(image_from_bytes(TURNED))
        assert image_cache_info().entries == 0

    def test_clearing_forgets_pictures_and_counts(self) -> None:
        load(image_from_bytes(TURNED))
        clear_image_cache()
        assert image_cache_info()[:4] == (0, 0, 0, 0)

    def test_a_negative_bound_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="0 bytes or more"):
            set_image_cache_bytes(-1)


def test_many_threads_get_the_right_pictures() -> None:
    data = {turn: jpeg(exif=exif_block(turn)) for turn in range(2, 9)} | {1: animated("GIF")}
    right = {turn: load(image_from_bytes(content)) for turn, content in data.items()}
    clear_image_cache()
    set_image_cache_bytes(6000)  # so that they drive each other out as well
    wrong: list[int] = []

    def work() -> None:
        for _ in range(5):
            wrong.extend(turn for turn, content in data.items() if load(image_from_bytes(content)) != right[turn])

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    info = image_cache_info()
    assert info.hits + info.misses == 6 * 5 * len(data)
    assert info.bytes <= 6000


def test_a_child_process_begins_anew_even_if_the_lock_was_held() -> None:
    cache = PictureCache()
    cache.put("a", part(10))
    cache._lock.acquire()
    cache.after_fork()
    assert cache.info() == CacheInfo(0, 0, 0, 0, 64 * 1024 * 1024)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_while_another_thread_holds_the_lock_does_not_hang() -> None:
    from minicpm_core.media.cache import PICTURES

    with PICTURES._lock:
        child = os.fork()
        if child == 0:
            try:
                load(image_from_bytes(TURNED))
                os._exit(0 if counts() == (0, 1, 1) else 1)
            finally:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
