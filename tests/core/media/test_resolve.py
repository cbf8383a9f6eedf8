"""A conversation's pictures are read where they stand, and nothing of the caller's is touched."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from minicpm_core.backends import BACKENDS
from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import (
    MediaLimits,
    image_from_base64,
    image_from_bytes,
    image_from_file,
    image_from_path,
    image_from_pil,
    image_from_url,
    load_image,
    needs_io,
    resolve_messages,
)
from minicpm_core.media.settings import MediaSettings
from minicpm_core.parts import ImagePart, ImageSource, TextPart
from minicpm_core.types import Message, ToolCall
from tests.core.media.pictures import (
    PNG_AND_JPEG,
    chunk,
    data_url,
    encoded,
    exif_block,
    jpeg,
    png,
    quarters,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def ask(*parts: TextPart | ImageSource | ImagePart) -> Message:
    return Message("user", parts)


def resolve(messages: Sequence[Message], settings: MediaSettings | None = None) -> tuple[Message, ...]:
    return resolve_messages(messages, BACKENDS["modelbest"], model="MiniCPM-V-4.6-1B", settings=settings)


class TestResolve:
    def test_every_source_becomes_the_part_that_load_image_gives_in_its_place(self) -> None:
        red, blue = image_from_bytes(png((8, 8))), image_from_bytes(jpeg((16, 8)))
        messages = [Message("system", "Look."), ask(red, TextPart("and"), blue, TextPart("?")), ask(blue)]
        resolved = resolve(messages)
        one, two = (load_image(source, accept=PNG_AND_JPEG)[0] for source in (red, blue))
        assert [message.parts for message in resolved] == [
            (TextPart("Look."),),
            (one, TextPart("and"), two, TextPart("?")),
            (two,),
        ]

    def test_messages_without_unread_pictures_are_the_very_same_objects(self) -> None:
        (part,) = load_image(image_from_bytes(png()), accept=PNG_AND_JPEG)
        messages = (
            Message("system", "Look."),
            Message("assistant", "", tool_calls=(ToolCall("1", "look", "{}"),), reasoning="Hm."),
            ask(part, TextPart("?")),
        )
        resolved = resolve(messages)
        assert all(new is old for new, old in zip(resolved, messages, strict=True))

    def test_the_callers_messages_stay_as_they_were(self) -> None:
        messages = [ask(TextPart("?"), image_from_bytes(png())), Message("user", "Hello.")]
        before = copy.copy(messages), [message.content for message in messages]
        resolve(messages)
        assert (messages, [message.content for message in messages]) == before

    def test_the_other_fields_of_a_message_are_kept(self) -> None:
        message = Message("tool", (image_from_bytes(png()),), name="camera", tool_call_id="call_1")
        (resolved,) = resolve([message])
        assert (resolved.role, resolved.name, resolved.tool_call_id) == ("tool", "camera", "call_1")

    def test_a_source_that_stands_twice_is_read_once(self) -> None:
        class Counting(io.BytesIO):
            starts = 0

            def seek(self, offset: int, whence: int = 0) -> int:
                self.starts += 1
                return super().seek(offset, whence)

        file = Counting(png())
        source = image_from_file(file)
        first, second = resolve([ask(source), ask(source, TextPart("again"))])
        assert first.parts[0] is second.parts[0]
        assert file.starts == 2, "to the start and back, once"

    def test_an_error_says_where_the_picture_stands(self) -> None:
        messages = [Message("system", "Look."), ask(TextPart("?"), image_from_bytes(b"<html>"))]
        with pytest.raises(InvalidMediaError, match="HTML") as caught:
            resolve(messages)
        assert caught.value.__notes__ == ["It is part 2 of message 2."]
        assert pickle.loads(pickle.dumps(caught.value)).__notes__ == caught.value.__notes__

    def test_the_limits_hold(self) -> None:
        with pytest.raises(InvalidMediaError, match="too large"):
            resolve([ask(image_from_bytes(png()))], settings=MediaSettings(media_limits=MediaLimits(max_pixels=10)))

    def test_no_messages_are_no_messages(self) -> None:
        assert resolve([]) == ()


BIG = png()[:33] + chunk(b"teXt", bytes(300_000)) + png()[33:]


class TestNeedsIo:
    @pytest.mark.parametrize(
        "make",
        [
            pytest.param(lambda: image_from_path(Path("anywhere.png")), id="path"),
            pytest.param(lambda: image_from_file(io.BytesIO(png())), id="file"),
            pytest.param(lambda: image_from_pil(quarters()), id="pil"),
            pytest.param(lambda: image_from_url("https://example.com/a.png"), id="url"),
            pytest.param(lambda: image_from_bytes(BIG), id="large-bytes"),
            pytest.param(lambda: image_from_bytes(memoryview(BIG)), id="large-memoryview"),
            pytest.param(lambda: image_from_url(data_url(BIG)), id="large-data-url"),
            pytest.param(lambda: image_from_base64(data_url(BIG).partition(",")[2]), id="large-base64"),
            pytest.param(lambda: image_from_bytes(jpeg(exif=exif_block(6))), id="turned-jpeg"),
            pytest.param(lambda: image_from_url(data_url(jpeg(exif=exif_block(6)))), id="turned-data-url"),
            pytest.param(lambda: image_from_bytes(encoded(quarters(), "WEBP")), id="webp"),
            pytest.param(
                lambda: image_from_base64(data_url(encoded(quarters(), "TIFF")).partition(",")[2]), id="tiff-base64"
            ),
        ],
    )
    def test_what_may_take_long_leaves_the_event_loop(self, make: Callable[[], ImageSource]) -> None:
        assert needs_io([Message("user", "Hello."), ask(TextPart("?"), make())])

    @pytest.mark.parametrize(
        "make",
        [
            pytest.param(lambda: image_from_bytes(png()), id="png"),
            pytest.param(lambda: image_from_bytes(jpeg(exif=exif_block(1))), id="jpeg"),
            pytest.param(lambda: image_from_url(data_url(png())), id="data-url"),
            pytest.param(lambda: image_from_url(data_url(jpeg())), id="jpeg-data-url"),
            pytest.param(lambda: image_from_base64(data_url(jpeg()).partition(",")[2].encode()), id="base64"),
            pytest.param(lambda: image_from_bytes(b"<html>"), id="html"),
            pytest.param(lambda: image_from_base64("not base64 é"), id="no-base64"),
            pytest.param(lambda: ImageSource("bytes", "wrong"), id="wrong-type"),
            pytest.param(lambda: ImageSource("data_url", None), id="no-text"),
        ],
    )
    def test_what_is_done_at_once_stays(self, make: Callable[[], ImageSource]) -> None:
        assert not needs_io([Message("user", "Hello."), ask(TextPart("?"), make())])

    def test_pictures_that_were_read_already_stay(self) -> None:
        assert not needs_io([ask(*load_image(image_from_bytes(BIG), accept=PNG_AND_JPEG))])

    def test_many_small_pictures_add_up(self) -> None:
        small = image_from_bytes(png()[:-12] + chunk(b"teXt", bytes(100_000)) + png()[-12:])
        assert not needs_io([ask(small, small)])
        assert needs_io([ask(small, small), ask(small)])

    def test_a_released_memoryview_is_left_to_the_reading(self) -> None:
        view = memoryview(png())
        source = image_from_bytes(view)
        view.release()
        assert not needs_io([ask(source)])

    def test_nothing_is_read(self) -> None:
        file = io.BytesIO(png())
        file.seek(3)
        needs_io([ask(image_from_file(file))])
        assert file.tell() == 3
