"""Documents: pages of a PDF as pictures of the size that a model sees, and text files as text."""

from __future__ import annotations

import codecs
import importlib
import io
import math
import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.errors import ConfigurationError, InvalidMediaError
from minicpm_core.media import documents, pdfium
from minicpm_core.media.documents import PAGE_PIXELS, Page, is_pdf, page_scale, read_pages, read_text
from minicpm_core.media.tokens import image_grid
from tests.core.media.pdfs import document, encrypted, form, pdf, text

if TYPE_CHECKING:
    from typing import BinaryIO

_RED_LEFT = b"1 0 0 rg 0 0 100 300 re f"
_A4 = b"0 0 595.28 841.89"
_WHITE = (255, 255, 255)
_RED = (255, 0, 0)
_BLUE = (0, 0, 255)


def _read(data: bytes | BinaryIO, **how: Any) -> list[Page]:
    settings: dict[str, Any] = {
        "pages": None,
        "max_pages": 20,
        "max_pixels": PAGE_PIXELS,
        "with_text": False,
        "label": "The document",
    }
    return read_pages(data, **settings | how)


def _refused(data: bytes | BinaryIO, **how: Any) -> str:
    with pytest.raises(InvalidMediaError) as caught:
        _read(data, **how)
    return str(caught.value)


def _at(page: Page, x: float, y: float) -> Any:
    """The colour at a place that is given in parts of the whole."""
    return page.image.getpixel((int(page.image.width * x), int(page.image.height * y)))


# --- What comes out --------------------------------------------------------------------------------------------------


def test_pages_come_in_order_on_white_with_their_numbers() -> None:
    pages = _read(document(_RED_LEFT, b"", _RED_LEFT))
    assert [page.number for page in pages] == [1, 2, 3]
    assert [_at(page, 0.25, 0.5) for page in pages] == [_RED, _WHITE, _RED]
    assert [_at(page, 0.75, 0.5) for page in pages] == [_WHITE] * 3
    assert {page.image.mode for page in pages} == {"RGB"}
    assert {page.text for page in pages} == {None}


def test_an_a4_page_has_just_as_many_pixels_as_the_model_sees() -> None:
    """Nine tiles, and not a pixel more, since these would be scaled away."""
    (page,) = _read(document(b"", box=_A4))
    width, height = page.image.size
    assert 0.995 * PAGE_PIXELS < width * height <= PAGE_PIXELS
    assert image_grid(page.image.size) == (3, 3)
    assert width / height == pytest.approx(595.28 / 841.89, rel=0.002)


@given(
    width=st.floats(0.1, documents.MAX_POINTS),
    height=st.floats(0.1, documents.MAX_POINTS),
    most=st.integers(1, 10_000_000),
)
def test_no_page_has_more_pixels_than_asked_for(width: float, height: float, most: int) -> None:
    """A side keeps at least one pixel, which is all that may exceed the bound."""
    scale = page_scale((width, height), most, "The page")
    columns, rows = math.ceil(width * scale), math.ceil(height * scale)
    assert columns * rows <= most or 1 in {columns, rows}
    assert max(columns, rows) <= documents.MAX_SIDE + 1  # of floating point
    assert 0 < scale <= documents.MAX_SCALE


def test_a_small_page_is_drawn_with_300_dpi() -> None:
    (page,) = _read(document(b"", box=b"0 0 72 144"))
    assert page.image.size == (300, 600)


@pytest.mark.parametrize(("turn", "at"), [(90, (0.5, 0.25)), (180, (0.75, 0.5)), (270, (0.5, 0.75))])
def test_a_page_is_turned_upright(turn: int, at: tuple[float, float]) -> None:
    """The half that is filled lies where a viewer shows it."""
    (page,) = _read(document(_RED_LEFT, page=b"/Rotate %d" % turn))
    assert page.image.width > page.image.height or turn == 180
    assert _at(page, *at) == _RED
    assert _at(page, 1 - at[0], 1 - at[1]) == _WHITE


def test_form_fields_are_drawn() -> None:
    """What was filled into a form is what the reader of a form asks about."""
    (page,) = _read(form())
    assert (_at(page, 0.5, 0.5), _at(page, 0.1, 0.1)) == (_BLUE, _WHITE)


def test_the_text_layer_comes_beside_the_picture() -> None:
    first, second, third = _read(document(text(b"First page"), b"", text(b"Third")), with_text=True)
    assert (first.text, second.text, third.text) == ("First page", "", "Third")


def test_the_lines_of_a_text_layer_end_as_lines_do_in_python() -> None:
    two = b"BT /F1 12 Tf 20 150 Td (One) Tj 0 -40 Td (two) Tj ET"
    (page,) = _read(document(two), with_text=True)
    assert page.text == "One\ntwo"


def test_the_text_layer_of_a_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_PAGE_CHARACTERS", 5)
    assert "10 characters of text; at most 5" in _refused(document(text(b"First page")), with_text=True)
    assert len(_read(document(text(b"First page")))) == 1


# --- Which pages -----------------------------------------------------------------------------------------------------


def test_a_range_of_pages_is_counted_from_one_with_both_ends() -> None:
    data = document(*(text(b"%d" % number) for number in range(1, 7)))
    pages = _read(data, pages=(2, 4), max_pages=3, with_text=True)
    assert [(page.number, page.text) for page in pages] == [(2, "2"), (3, "3"), (4, "4")]


def test_more_pages_than_are_sent_are_never_left_out_silently() -> None:
    data = document(*[b""] * 4)
    message = _refused(data, max_pages=3)
    assert "4 pages" in message
    assert "pages=(1, 3)" in message
    assert len(_read(data, max_pages=4)) == 4
    assert "pages 1 to 4 are 4 pages; at most 3" in _refused(data, pages=(1, 4), max_pages=3)


@pytest.mark.parametrize("pages", [(0, 1), (-1, 2), (3, 2)])
def test_an_impossible_range_is_refused(pages: tuple[int, int]) -> None:
    assert "no range of pages" in _refused(document(b"", b"", b""), pages=pages)


def test_pages_behind_the_last_one_are_refused() -> None:
    assert "ends with page 2" in _refused(document(b"", b""), pages=(2, 3))


def test_another_thread_can_stop_it() -> None:
    stop = threading.Event()
    stop.set()
    assert "was stopped" in _refused(document(b""), stop=stop)


# --- Files -----------------------------------------------------------------------------------------------------------


class _Slow(io.BytesIO):
    """A file that gives a few bytes at a time, as a raw one may, and has no `readinto`."""

    readinto: Any = None

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(7 if size is None or size < 0 else min(7, size))


@pytest.mark.parametrize("kind", [io.BytesIO, _Slow])
def test_a_file_is_read_and_its_position_put_back(kind: type[io.BytesIO]) -> None:
    file = kind(document(_RED_LEFT, text(b"Second")))
    file.seek(11)
    first, second = _read(file, with_text=True)
    assert (_at(first, 0.25, 0.5), second.text) == (_RED, "Second")
    assert file.tell() == 11
    assert not file.closed


def test_a_file_that_fails_meanwhile_says_so() -> None:
    """The error of the file, not that of a parser which was given nothing."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("the disk is on fire")

    file = Failing(document(b""))
    file.seek(3)
    assert "cannot be read: the disk is on fire" in _refused(file)
    assert file.tell() == 3


def test_a_file_that_is_closed_is_refused() -> None:
    file = io.BytesIO(document(b""))
    file.close()
    assert "cannot be read: I/O operation on closed file" in _refused(file)


# --- What is no document ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(40), "is not a PDF", id="picture"),
        pytest.param(b"<!doctype html><p>Log in", "looks like an HTML page", id="html"),
        pytest.param(b"PK\3\4" + bytes(40), "looks like a ZIP archive or an Office document", id="office"),
        pytest.param(b"%PDF-1.7\n", "a PDF that is broken", id="nothing but a header"),
        pytest.param(document(b"")[:120], "a PDF that is broken", id="cut off"),
        pytest.param(encrypted(), "needs a password", id="encrypted"),
        pytest.param(document(), "or has no pages", id="no pages"),
        pytest.param(document(b"", box=b"0 0 1000000 1000000"), "1e+06 x 1e+06 points", id="a square kilometre"),
        pytest.param(
            pdf(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 2>>"),
            "page 1, cannot be drawn",
            id="a page tree that holds itself",
        ),
    ],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_what_is_no_usable_pdf_is_refused_with_the_reason(data: bytes, said: str, as_file: bool) -> None:
    assert said in _refused(io.BytesIO(data) if as_file else data)


def test_the_reason_is_that_of_this_document() -> None:
    """PDFium remembers why another one was refused."""
    assert "password" in _refused(encrypted())
    assert "password" not in _refused(document())


def test_a_count_of_pages_that_lies_costs_nothing() -> None:
    """A few hundred bytes that claim a hundred million pages."""
    data = document(b"", count=100_000_000)
    for pages in (None, (1, 1), (99_999_999, 99_999_999)):
        try:
            found = _read(data, pages=pages)
        except InvalidMediaError:
            continue
        assert [page.number for page in found] == [1]


@pytest.mark.parametrize("box", [b"0 0 0 0", b"0 0 nan 1e400", b"100 100 0 0", b"(a) [] 3 /x"])
def test_a_page_whose_size_makes_no_sense_is_bounded(box: bytes) -> None:
    (page,) = _read(document(b"", box=box))
    assert page.image.width * page.image.height <= PAGE_PIXELS


def test_a_very_narrow_page_is_bounded() -> None:
    (page,) = _read(document(b"", box=b"0 0 140000 0.5"))
    assert page.image.size == (documents.MAX_SIDE, 1)


@given(cut=st.integers(0, 700), noise=st.binary(max_size=30))
def test_damage_anywhere_is_drawn_or_refused(cut: int, noise: bytes) -> None:
    """Nothing else than our own error comes out."""
    whole = document(text(b"First"), _RED_LEFT)
    try:
        pages = _read(whole[:cut] + noise + whole[cut + len(noise) :], max_pixels=10_000, with_text=True)
    except InvalidMediaError:
        return
    assert all(page.image.width * page.image.height <= 10_000 for page in pages)


def test_without_pypdfium2_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(ConfigurationError, match=r'pip install "minicpm-integrations\[media\]"'):
        _read(document(b""))
    file = io.BytesIO(document(b""))
    with pytest.raises(ConfigurationError):
        _read(file)


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (b"%PDF-1.4\n", True),
        (b"\xef\xbb\xbf\r\n%PDF-1.4\n", True),
        (b"A text about %PDF-1.4", False),
        (b"\xff\xd8\xff\xe0%PDF-1.4", False),
        (b"", False),
    ],
)
def test_a_pdf_is_known_by_its_first_bytes(data: bytes, is_one: bool) -> None:
    """A text that speaks of PDF is none, nor is a picture whose comment begins like one."""
    assert is_pdf(data) is is_one


# --- PDFium's one thread ---------------------------------------------------------------------------------------------


def test_many_threads_read_at_once() -> None:
    """PDFium itself would crash."""
    data = document(*(text(b"%d" % number) for number in range(1, 4)))
    with ThreadPoolExecutor(8) as threads:
        reading = [threads.submit(_read, data, max_pixels=20_000, with_text=True) for _ in range(24)]
        every = [one.result() for one in reading]
    assert {tuple(page.text for page in pages) for pages in every} == {("1", "2", "3")}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_reads_though_its_parent_was_reading_when_it_was_forked() -> None:
    """The lock that came over the fork would never be released."""
    script = """
import os, sys
from minicpm_core.media import pdfium
from minicpm_core.media.documents import read_pages
data = sys.stdin.buffer.read()
how = dict(pages=None, max_pages=1, max_pixels=999, with_text=False, label="x")
with pdfium.lock():
    child = os.fork()
    if not child:
        os._exit(len(read_pages(data, **how)))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    run = [sys.executable, "-W", "error", "-c", script]
    assert subprocess.run(run, input=document(b""), capture_output=True, check=True, timeout=60).stdout == b"1\n"


_PAIRS = {
    "FPDF_LoadMemDocument64": "FPDF_CloseDocument",
    "FPDF_LoadPage": "FPDF_ClosePage",
    "FPDFText_LoadPage": "FPDFText_ClosePage",
    "FPDFDOC_InitFormFillEnvironment": "FPDFDOC_ExitFormFillEnvironment",
}


@pytest.mark.parametrize(
    ("data", "pages"),
    [
        (document(text(b"Hi"), b""), 2),
        (form(), 1),
        (document(b"", box=b"0 0 1e9 1e9"), 1),
        (document(b"", count=2), None),
        (encrypted(), 0),
    ],
)
def test_everything_of_pdfium_is_closed(data: bytes, pages: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it ended well or not: what is left to the garbage collector is closed without the lock."""
    raw = importlib.import_module("pypdfium2.raw")
    calls: Counter[str] = Counter()
    unlocked: list[str] = []

    def watched(name: str) -> Any:
        original = getattr(raw, name)

        def call(*args: Any) -> Any:
            if not pdfium.lock().locked():
                unlocked.append(name)
            result = original(*args)
            calls[name] += result is None or bool(result)  # a pointer that is null opens nothing
            return result

        return call

    for name in (*_PAIRS, *_PAIRS.values()):
        monkeypatch.setattr(raw, name, watched(name))
    failed: InvalidMediaError | None = None
    try:
        _read(data, with_text=True)
    except InvalidMediaError as error:
        failed = error  # which holds the frames that it came through
    assert {name: calls[name] for name in _PAIRS} == {name: calls[closing] for name, closing in _PAIRS.items()}, failed
    assert pages in {None, calls["FPDF_LoadPage"]}
    assert unlocked == []
    assert not pdfium.lock().locked()


# --- Text files ------------------------------------------------------------------------------------------------------


def _text(data: bytes, most: int = 1000) -> str:
    return read_text(data, label="The notes", max_characters=most)


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_text_is_read_in_any_unicode_encoding(codec: str) -> None:
    assert _text("# Größe\n\n你好 🙂\n".encode(codec)) == "# Größe\n\n你好 🙂\n"


@pytest.mark.parametrize(("mark", "codec"), [(codecs.BOM_UTF16_BE, "utf-16-be"), (codecs.BOM_UTF32_BE, "utf-32-be")])
def test_a_text_is_read_in_either_order_of_bytes(mark: bytes, codec: str) -> None:
    assert _text(mark + "Größe".encode(codec)) == "Größe"


def test_lines_end_with_a_line_feed() -> None:
    assert _text(b"a\r\nb\rc\n\x0cd") == "a\nb\nc\n\x0cd"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "holds no text: it is empty", id="empty"),
        pytest.param(codecs.BOM_UTF8, "holds no text: it is empty", id="only a mark"),
        pytest.param(b" \n\t", "holds no text: it is blank", id="blank"),
        pytest.param("Größe".encode("latin-1"), "Save it as UTF-8", id="another encoding"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(40), "looks like", id="picture"),
        pytest.param(b"PK\3\4\x14\0", "is not a text: it looks like", id="archive"),
        pytest.param(b"abc\0def", "looks like binary data", id="a zero byte"),
        pytest.param("Größe".encode("utf-16-le"), "is not", id="UTF-16 without a mark"),
        pytest.param(codecs.BOM_UTF16_LE + b"a\0b", "is not UTF-16 text", id="half a character"),
        pytest.param(b"%PDF-1.4\n%%EOF", "looks like a PDF document", id="PDF"),
    ],
)
def test_what_is_no_text_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(InvalidMediaError, match=r"^The notes ") as caught:
        _text(data)
    assert said in str(caught.value)


def test_a_text_is_bounded_by_its_characters() -> None:
    """However many bytes each of them takes."""
    assert _text("🙂".encode() * 9, 9) == "🙂" * 9
    for data in ("🙂".encode() * 10, b"a" * 10, b"a" * 100_000):
        with pytest.raises(InvalidMediaError, match="at most 9 characters"):
            _text(data, 9)
