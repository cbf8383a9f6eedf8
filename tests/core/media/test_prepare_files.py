"""Files and conversations: what is the caller's stays as it was, and nothing is read twice."""

from __future__ import annotations

import io
from typing import Any

import pytest

from minicpm_core.backends import BACKENDS
from minicpm_core.errors import InvalidMediaError
from minicpm_core.media import resolve_messages
from minicpm_core.parts import (
    AudioSource,
    DocumentSource,
    ImageSource,
    Source,
    TextPart,
    VideoSource,
)
from minicpm_core.types import Message
from tests.core.media.pictures import png
from tests.core.media.preparing import (
    OMNI,
    SIZE,
    SOURCES,
    clip,
    paper,
    prepared,
    sound,
)


class Counting(io.BytesIO):
    """A file that counts how often it is read from its start."""

    starts = 0
    _was_read = False

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset == whence == 0 and self._was_read:
            self._was_read = False
        return super().seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() == 0 and not self._was_read:
            self._was_read = True
            self.starts += 1
        return super().read(size)


MADE: dict[type[Source], Any] = {
    ImageSource: lambda: png(SIZE),
    VideoSource: clip,
    AudioSource: sound,
    DocumentSource: paper,
}


@pytest.mark.parametrize("source", SOURCES, ids=lambda cls: cls.noun)
class TestFiles:
    def test_a_file_object_is_read_from_its_start_and_put_back(self, source: type[Source]) -> None:
        file = io.BytesIO(MADE[source]())
        file.seek(7)
        assert prepared(source("file", file)) == prepared(source("bytes", MADE[source]()))
        assert file.tell() == 7
        assert not file.closed

    def test_it_is_put_back_when_it_cannot_be_used(self, source: type[Source]) -> None:
        file = io.BytesIO(b"\x00nothing" * 40)
        file.seek(7)
        with pytest.raises(InvalidMediaError):
            prepared(source("file", file))
        assert file.tell() == 7

    def test_a_source_that_stands_twice_is_read_once(self, source: type[Source]) -> None:
        once, twice = Counting(MADE[source]()), Counting(MADE[source]())
        prepared(source("file", once))
        same = source("file", twice)
        messages = [Message("user", (same, TextPart("and"), same)), Message("user", (same,))]
        first, second = resolve_messages(messages, BACKENDS["vllm"], model=OMNI)
        assert twice.starts == once.starts > 0
        place = first.parts.index(TextPart("and"))
        assert first.parts[:place] == first.parts[place + 1 :] == second.parts

    def test_an_error_says_which_part_of_which_message_it_is(self, source: type[Source]) -> None:
        messages = [Message("user", "Hello."), Message("user", (TextPart("?"), source("bytes", b"\x00nothing")))]
        with pytest.raises(InvalidMediaError) as caught:
            resolve_messages(messages, BACKENDS["vllm"], model=OMNI)
        assert caught.value.__notes__ == ["It is part 2 of message 2."]
