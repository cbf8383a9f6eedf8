"""Pictures and pages are found by what they are, in an order that does not change."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from minicpm_core.captions import MediaPage, Picture, find_media
from minicpm_core.errors import InvalidMediaError
from tests.captions.support import png
from tests.core.media.pdfs import encrypted

if TYPE_CHECKING:
    from pathlib import Path

    from minicpm_core.errors import MiniCPMError


def test_a_folder_gives_its_pictures_and_pages_in_order(folder: Path) -> None:
    assert find_media(folder) == [
        MediaPage(folder / "b.pdf", 1, 2),
        MediaPage(folder / "b.pdf", 2, 2),
        MediaPage(folder / "green.dat"),
        MediaPage(folder / "inner" / "blue.png"),
        MediaPage(folder / "red.png"),
    ]


def test_only_the_folder_itself_where_asked(folder: Path) -> None:
    assert folder / "inner" / "blue.png" not in [page.path for page in find_media(folder, recursive=False)]


def test_patterns_files_and_folders_together_give_each_file_once(folder: Path) -> None:
    found = find_media([str(folder / "**" / "*.png"), folder / "red.png", str(folder / "inner")])
    assert [page.path.name for page in found] == ["blue.png", "red.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "shot[1].png"
    path.write_bytes(png())
    assert find_media(str(path)) == [MediaPage(path)]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("notes.png", "neither a picture nor a PDF: it looks like plain text"),
        ("missing.png", "does not exist"),
        ("*.tiff", "No file fits the pattern"),
    ],
)
def test_what_was_named_and_is_no_medium_is_an_error(folder: Path, name: str, told: str) -> None:
    with pytest.raises(InvalidMediaError, match=told):
        find_media(str(folder / name))


def test_a_pdf_that_cannot_be_opened_is_raised_or_told_of(folder: Path) -> None:
    (folder / "locked.pdf").write_bytes(encrypted())
    with pytest.raises(InvalidMediaError, match="needs a password"):
        find_media(folder)
    told: list[tuple[str, MiniCPMError]] = []
    found = find_media(folder, unreadable=lambda path, error: told.append((path.name, error)))
    assert len(found) == 5
    assert [(name, type(error)) for name, error in told] == [("locked.pdf", InvalidMediaError)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
def test_a_pipe_in_a_folder_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    assert len(find_media(folder)) == 5


def test_a_picture_is_shown_as_its_file_is(folder: Path) -> None:
    picture = MediaPage(folder / "green.dat").read()
    assert picture == Picture(png("green"), "image/png", hashlib.sha256(png("green")).hexdigest())


def test_a_page_is_shown_as_a_picture_of_its_own(folder: Path) -> None:
    one, two, again = (MediaPage(folder / "b.pdf", number, 2).read() for number in (1, 2, 1))
    assert one.media_type == "image/png"
    assert one == again
    assert one.sha256 != two.sha256


def test_a_page_that_is_gone_is_an_error(folder: Path) -> None:
    with pytest.raises(InvalidMediaError, match="ends with page 2"):
        MediaPage(folder / "b.pdf", 3, 3).read()
