"""Conversations in no framework's terms, at random."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from hypothesis import strategies as st
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

Way: TypeAlias = Literal["path", "bytes", "file", "base64", "data_url"]
WAYS: Final[tuple[Way, ...]] = ("path", "bytes", "file", "base64", "data_url")


def _file(kind: str, mode: str = "RGB", size: tuple[int, int] = (40, 24), **options: Any) -> bytes:
    buffer = BytesIO()
    Image.new(mode, size, 90).save(buffer, kind, **options)
    return buffer.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 8
    return _file("JPEG", exif=exif)


NONSENSE: Final = "nonsense.png"
FILES: Final = {
    "flat.png": _file("PNG"),
    "clear.png": _file("PNG", "RGBA"),
    "photo.jpg": _file("JPEG"),
    "turned.jpg": _turned(),
    "picture.webp": _file("WEBP"),
    "picture.gif": _file("GIF", "P"),
    "picture.bmp": _file("BMP"),
    "picture.tiff": _file("TIFF"),
    NONSENSE: b"this is no picture",
}
"""Pictures of every kind that some server takes or does not take, and one that is none."""


def write_files(folder: Path) -> None:
    """Put the pictures into a folder, for `Picture.source`."""
    for name, data in FILES.items():
        (folder / name).write_bytes(data)


@dataclass(frozen=True)
class Picture:
    """A picture, and how it is handed over.

    Attributes:
        name: A key of `FILES`.
        way: How.
        detail: OpenAI's hint.
    """

    name: str
    way: Way
    detail: str | None = None

    @property
    def base64(self) -> str:
        return base64.b64encode(FILES[self.name]).decode()

    @property
    def data_url(self) -> str:
        return f"data:image/{self.name.rsplit('.', maxsplit=1)[-1]};base64,{self.base64}"

    def source(self, folder: Path) -> Path | bytes | BytesIO:
        """What is handed over if it is neither Base64 nor a URL.

        Args:
            folder: Where the files are.
        """
        data = FILES[self.name]
        return folder / self.name if self.way == "path" else BytesIO(data) if self.way == "file" else data


@dataclass(frozen=True)
class Call:
    """A call of a tool."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """A turn.

    Attributes:
        role: As the API has it.
        parts: Texts and pictures.
        name: The speaker's.
        calls: That an assistant made.
        answers: For a tool: the call's id.
        reasoning: An assistant's thoughts, which some integrations hold in several blocks.
        form: Which of a framework's equal ways to write it.
    """

    role: str
    parts: tuple[str | Picture, ...] = ()
    name: str | None = None
    calls: tuple[Call, ...] = ()
    answers: str | None = None
    reasoning: tuple[str, ...] = ()
    form: int = 0


_TEXTS = st.text(max_size=12) | st.sampled_from(
    ["", "Hello", " ", "\n", "你好🙂", "<think>a</think>", '"\\\u2028', "\0"]
)
_NAMES = st.none() | st.sampled_from(["ada", "Bob-2", "look_up"])
_FORMS = st.integers(0, 2)
_WAYS: SearchStrategy[Way] = st.sampled_from(WAYS)
_DETAILS = st.sampled_from([None, "low", "high"])
pictures: Final = st.builds(Picture, st.sampled_from(sorted(set(FILES) - {NONSENSE})), _WAYS, _DETAILS)
_JSON: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9**20) | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXTS, inner, max_size=2),
    max_leaves=4,
)
_CALLS = st.builds(
    Call,
    st.sampled_from(["call_1", "call_2", "3"]),
    st.sampled_from(["look_up", "paint"]),
    st.dictionaries(_TEXTS, _JSON, max_size=2),
)


def _some(parts: SearchStrategy[Any], least: int = 0) -> SearchStrategy[tuple[Any, ...]]:
    return st.lists(parts, min_size=least, max_size=3).map(tuple)


_MIXED = _some(_TEXTS | pictures)
_SYSTEM = st.builds(Turn, st.sampled_from(["system", "developer"]), _some(_TEXTS), name=_NAMES, form=_FORMS)
_USER = st.builds(Turn, st.just("user"), _MIXED.filter(any), name=_NAMES, form=_FORMS)
_ANSWER = st.builds(Turn, st.just("assistant"), _some(_TEXTS), name=_NAMES, reasoning=_some(_TEXTS), form=_FORMS)


@st.composite
def _tool_round(draw: st.DrawFn) -> list[Turn]:
    """An assistant's calls and their results."""
    calls = draw(st.lists(_CALLS, min_size=1, max_size=3, unique_by=lambda call: call.id))
    asked = draw(_ANSWER)
    results = [Turn("tool", draw(_MIXED), name=draw(_NAMES), answers=call.id, form=draw(_FORMS)) for call in calls]
    return [replace(asked, calls=tuple(calls)), *results]


@st.composite
def _orderly(draw: st.DrawFn) -> list[Turn]:
    turns: list[Turn] = draw(st.lists(_SYSTEM, max_size=2))
    for _ in range(draw(st.integers(1, 2))):
        turns.append(draw(_USER))
        for _ in range(draw(st.integers(0, 2))):
            turns += draw(_tool_round())
        turns += draw(st.lists(_ANSWER | _SYSTEM, max_size=1))
    return turns


conversations: Final = _orderly()
"""Conversations that can be sent, though not each as it is."""

# LangChain's `image_block` reads a picture when the message is made, before anything else can be found wrong.
_READ_WHEN_SENT: SearchStrategy[Way] = st.sampled_from(["base64", "data_url"])
_WRONG_PICTURES = st.builds(Picture, st.sampled_from(sorted(FILES)), _READ_WHEN_SENT, _DETAILS)
_WRONG_PARTS = _TEXTS | st.just("cut \ud83d") | _WRONG_PICTURES
_WRONG_ARGUMENTS = st.sampled_from([{"a": math.nan}, {"a": [math.inf]}, {"a": object()}, {"a": "\ud83d"}])
_WRONG = st.builds(
    Turn, st.sampled_from(["system", "developer", "user", "assistant"]), _some(_WRONG_PARTS), name=_NAMES, form=_FORMS
)
_WRONG_CALL = st.builds(
    Turn,
    st.just("assistant"),
    calls=st.tuples(st.builds(Call, st.just("1"), st.just("paint"), _WRONG_ARGUMENTS)),
    form=st.integers(1, 2),
)
_WRONG_RESULT = st.builds(Turn, st.just("tool"), _some(_WRONG_PARTS), answers=st.sampled_from(["", "1"]), form=_FORMS)

wrong_conversations: Final = st.lists(_USER, max_size=1).flatmap(
    lambda turns: st.lists(_WRONG | _WRONG_CALL | _WRONG_RESULT, max_size=3).map(lambda more: [*turns, *more])
)
"""Conversations with something in them that no template or no JSON takes, most of them."""
