"""Every way to hand a picture over gives the same part; what cannot be one is refused by name."""

from __future__ import annotations

import codecs
import io
import os
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from minicpm_core.errors import InvalidMediaError, MiniCPMError, UnsupportedContentError
from minicpm_core.media import (
    MediaLimits,
    image_from_base64,
    image_from_bytes,
    image_from_file,
    image_from_path,
    image_from_pil,
    image_from_url,
    load_image,
)
from minicpm_core.parts import ImagePart, ImageSource
from tests.core.media.pictures import PNG_AND_JPEG, content, data_url, jpeg, one, png, quarters, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def load(source: ImageSource, limits: MediaLimits | None = None) -> ImagePart:
    return one(load_image(source, accept=PNG_AND_JPEG, limits=limits or MediaLimits()))


class _PathLike:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def _file(data: bytes) -> io.BytesIO:
    file = io.BytesIO(data)
    file.seek(7)
    return file


def _text(data: bytes) -> str:
    return data_url(data).partition(",")[2]


MAKERS: dict[str, Callable[[bytes], ImageSource]] = {
    "bytes": image_from_bytes,
    "bytearray": lambda data: image_from_bytes(bytearray(data)),
    "memoryview": lambda data: image_from_bytes(memoryview(data)),
    "memoryview-slice": lambda data: image_from_bytes(memoryview(b"." + data + b".")[1:-1]),
    "memoryview-stride": lambda data: image_from_bytes(memoryview(data[::-1])[::-1]),
    "file": lambda data: image_from_file(_file(data)),
    "data-url": lambda data: image_from_url(data_url(data)),
    "base64": lambda data: image_from_base64(_text(data)),
    "base64-bytes": lambda data: image_from_base64(_text(data).encode()),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(("data", "media_type"), [(png(), "image/png"), (jpeg(), "image/jpeg")])
def test_a_good_picture_is_passed_on_byte_for_byte(maker: str, data: bytes, media_type: str) -> None:
    part = load(MAKERS[maker](data))
    assert (content(part), part.media_type, part.width, part.height) == (data, media_type, 64, 32)


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(png())
    assert content(load(image_from_path(path))) == png()
    assert content(load(image_from_path(_PathLike(path)))) == png()


def test_the_bytes_decide_the_type_whatever_the_name_or_the_caller_says(tmp_path: Path) -> None:
    path = tmp_path / "really.png"
    path.write_bytes(jpeg())
    assert load(image_from_path(path)).media_type == "image/jpeg"
    assert load(image_from_bytes(jpeg(), "image/png")).media_type == "image/jpeg"
    assert load(image_from_base64(_text(png()), "image/webp")).media_type == "image/png"
    assert load(image_from_url(data_url(png(), "application/octet-stream"))).media_type == "image/png"


def test_the_detail_hint_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(png())
    for source in (
        image_from_path(path, detail="low"),
        image_from_bytes(png(), detail="low"),
        image_from_file(io.BytesIO(png()), detail="low"),
        image_from_pil(quarters(), detail="low"),
        image_from_url(data_url(png()), detail="low"),
        image_from_base64(_text(png()), detail="low"),
    ):
        assert load(source).detail == "low"
    assert load(image_from_bytes(png())).detail is None


class TestPaths:
    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidMediaError, match=r"gone\.png' does not exist"):
            load(image_from_path(tmp_path / "gone.png"))

    def test_a_directory_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidMediaError, match="is a directory"):
            load(image_from_path(tmp_path))

    def test_a_pipe_is_refused_without_waiting_for_it(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        with pytest.raises(InvalidMediaError, match="not a regular file"):
            load(image_from_path(pipe))

    def test_a_file_that_may_not_be_read_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "secret.png"
        path.write_bytes(png())

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")  # root, as whom tests may run, is never refused

        monkeypatch.setattr(type(path), "open", refuse)
        with pytest.raises(InvalidMediaError, match=r"secret\.png' may not be read: permission denied"):
            load(image_from_path(path))

    def test_a_path_that_cannot_be_one_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidMediaError, match="cannot be read"):
            load(image_from_path(tmp_path / ("x" * 5000)))
        with pytest.raises(InvalidMediaError, match="cannot be read"):
            load(image_from_path(tmp_path / "nul\0byte"))

    @pytest.mark.parametrize("value", ["photo.jpg", b"photo.jpg", 7, None])
    def test_only_a_path_object_is_a_path(self, value: Any) -> None:
        """No text from a message or a model becomes a path by accident."""
        with pytest.raises(InvalidMediaError, match=r"os\.PathLike"):
            image_from_path(value)
        with pytest.raises(InvalidMediaError, match=r"os\.PathLike"):
            load(ImageSource("path", value))


class TestFiles:
    def test_the_position_is_put_back(self) -> None:
        file = _file(png())
        load(image_from_file(file))
        assert file.tell() == 7

    def test_the_position_is_put_back_after_an_error(self) -> None:
        file = _file(b"this is no picture")
        with pytest.raises(InvalidMediaError):
            load(image_from_file(file))
        assert file.tell() == 7

    def test_the_same_file_can_be_sent_again(self) -> None:
        source = image_from_file(io.BytesIO(png()))
        assert load(source) == load(source)

    def test_a_raw_file_that_gives_little_at_a_time_is_read_to_its_end(self) -> None:
        class Slow(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                return super().read(min(size or 10, 10))

        assert content(load(image_from_file(Slow(png())))) == png()

    def test_a_temporary_file_is_read(self) -> None:
        with tempfile.SpooledTemporaryFile() as file:
            file.write(png())
            assert content(load(image_from_file(file))) == png()  # type: ignore[arg-type]  # a binary file by duck

    @pytest.mark.parametrize(
        "file", [io.StringIO("text"), codecs.getreader("utf-8")(io.BytesIO(b"text"))], ids=["StringIO", "codecs"]
    )
    def test_text_mode_is_refused_with_the_remedy(self, file: Any) -> None:
        with pytest.raises(InvalidMediaError, match='mode "rb"'):
            load(image_from_file(file))

    def test_a_closed_file_is_refused(self) -> None:
        file = io.BytesIO(png())
        source = image_from_file(file)
        file.close()
        with pytest.raises(InvalidMediaError, match="must be open"):
            load(source)

    def test_a_pipe_is_refused_since_it_could_be_read_once_only(self) -> None:
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb"), pytest.raises(InvalidMediaError, match="seek"):
            load(image_from_file(file))

    def test_a_file_that_gives_no_bytes_is_refused(self) -> None:
        class Odd(io.BytesIO):
            def read(self, size: int | None = -1) -> Any:
                return None

        with pytest.raises(InvalidMediaError, match="NoneType instead of bytes"):
            load(image_from_file(Odd()))

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(InvalidMediaError, match="not object"):
            image_from_file(object())  # type: ignore[arg-type]  # the point of the test


class TestBytes:
    @pytest.mark.parametrize("value", ["text", [1, 2], None])
    def test_something_else_is_refused(self, value: Any) -> None:
        with pytest.raises(InvalidMediaError, match="must be bytes"):
            image_from_bytes(value)

    def test_a_released_memoryview_is_refused(self) -> None:
        view = memoryview(png())
        source = image_from_bytes(view)
        view.release()
        with pytest.raises(InvalidMediaError, match="released"):
            load(source)

    def test_a_later_change_of_the_callers_buffer_does_not_reach_the_part(self) -> None:
        buffer = bytearray(png())
        part = load(image_from_bytes(buffer))
        buffer[:] = bytes(len(buffer))
        assert content(part) == png()


class TestUrls:
    @pytest.mark.parametrize("url", ["https://example.com/a.png", "HTTP://example.com/a.png"])
    def test_a_web_address_is_kept_as_it_is(self, url: str) -> None:
        source = image_from_url(url)
        assert (source.kind, source.value) == ("url", url)

    @pytest.mark.parametrize(
        "url", ["file:///etc/passwd", "ftp://example.com/a.png", "/etc/passwd", "photo.jpg", "C:\\a.png", ""]
    )
    def test_files_are_never_read_from_a_url_field(self, url: str) -> None:
        with pytest.raises(UnsupportedContentError, match="never read from a URL field"):
            image_from_url(url)

    def test_the_error_does_not_show_what_was_given(self) -> None:
        with pytest.raises(UnsupportedContentError) as caught:
            image_from_url("gopher://user:pass-word@host/")
        assert "pass-word" not in str(caught.value)

    def test_something_else_than_text_is_refused(self) -> None:
        with pytest.raises(InvalidMediaError, match="must be a string"):
            image_from_url(7)  # type: ignore[arg-type]  # the point of the test

    def test_spaces_around_are_ignored(self) -> None:
        assert content(load(image_from_url(f"\n {data_url(png())} \n"))) == png()


class TestLimits:
    @pytest.mark.parametrize("maker", MAKERS)
    def test_too_many_bytes_are_refused(self, maker: str) -> None:
        data = png()
        source = MAKERS[maker](data)
        assert content(load(source, MediaLimits(max_bytes=len(data)))) == data
        for limit in (len(data) - 1, len(data) // 3):
            with pytest.raises(InvalidMediaError, match="too large"):
                load(MAKERS[maker](data), MediaLimits(max_bytes=limit))

    def test_a_large_file_is_not_read_beyond_the_limit(self, tmp_path: Path) -> None:
        path = tmp_path / "sparse.png"
        with path.open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(InvalidMediaError, match="too large"):
            load(image_from_path(path), MediaLimits(max_bytes=1000))

    def test_too_many_pixels_are_refused(self) -> None:
        for source in (image_from_bytes(png()), image_from_pil(quarters())):
            assert load(source, MediaLimits(max_pixels=64 * 32)).width == 64
            with pytest.raises(InvalidMediaError, match="64 x 32 pixels; the limit is 2047"):
                load(source, MediaLimits(max_pixels=64 * 32 - 1))


def test_an_unknown_kind_of_source_is_refused() -> None:
    with pytest.raises(InvalidMediaError, match="Unknown kind"):
        load(ImageSource("telepathy", b""))  # type: ignore[arg-type]  # the point of the test


def test_the_payload_is_not_in_any_repr_or_error() -> None:
    marker = b"PAYLOAD-MARKER"
    for source in (image_from_bytes(marker * 9), image_from_base64(marker.decode().replace("-", "") * 8)):
        assert "PAYLOAD" not in repr(source)
        with pytest.raises(MiniCPMError) as caught:
            load(source)
        assert "PAYLOAD" not in str(caught.value)
    assert content(load(image_from_bytes(png()))).hex() not in repr(load(image_from_bytes(png())))
    assert "base64" not in repr(load(image_from_bytes(png())))


class TestPil:
    def test_the_callers_image_is_not_changed(self) -> None:
        image = quarters()
        image.info.update(comment=b"kept", exif=b"kept too")
        before = (image.tobytes(), image.mode, image.size, dict(image.info))
        load(image_from_pil(image))
        assert (image.tobytes(), image.mode, image.size, dict(image.info)) == before

    def test_a_lazily_opened_image_stays_usable(self) -> None:
        image = Image.open(io.BytesIO(png()))
        assert shown(load(image_from_pil(image))).tobytes() == quarters().tobytes()
        assert image.convert("RGB").tobytes() == quarters().tobytes()

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(InvalidMediaError, match=r"PIL\.Image\.Image"):
            image_from_pil(b"bytes")  # type: ignore[arg-type]  # the point of the test

    def test_an_empty_image_is_refused(self) -> None:
        with pytest.raises(InvalidMediaError, match="no pixels"):
            load(image_from_pil(Image.new("RGB", (0, 5))))

    def test_a_closed_image_is_refused(self) -> None:
        image = Image.open(io.BytesIO(png()))
        image.close()
        with pytest.raises(InvalidMediaError, match="cannot be encoded"):
            load(image_from_pil(image))
