"""The corpus of the examples: whose each picture is, how it is made, and that the questions ask about what is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.captions import find_media
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CORPUS = ROOT / "examples" / "corpus"
DRAWN = ("charts", "signs", "scans", "papers")


def _files(folder: Path) -> dict[str, bytes]:
    kinds = (".jpg", ".pdf", ".png")
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.suffix in kinds
    }


def test_it_is_large_enough_for_what_is_measured_with_it() -> None:
    names = list(_files(CORPUS))
    assert sum(not name.endswith(".pdf") for name in names) >= 60
    assert sum(name.endswith(".pdf") for name in names) == 5


@pytest.mark.parametrize("folder", [CORPUS, ROOT / "examples"], ids=["corpus", "examples"])
def test_each_photograph_has_a_row_that_states_its_licence(folder: Path) -> None:
    licences = (folder / "LICENSES.md" if folder == CORPUS else folder / "photos" / "LICENSES.md").read_text("utf-8")
    named: list[str] = []
    for row in re.findall(r"^\| *`.*\|$", licences, re.MULTILINE):
        first, *_, last = row.strip("| ").split("|")
        assert last.strip(), f"no licence: {row}"
        named += [name.removesuffix(".jpg") for name in re.findall(r"`([\w.]+)`", first)]
    assert sorted(named) == sorted(file.stem for file in (folder / "photos").glob("*.jpg"))


def test_each_answer_is_there() -> None:
    pages = {
        page.path.relative_to(CORPUS).as_posix() + ("" if page.page is None else f"#{page.page}")
        for page in find_media(CORPUS)
    }
    questions: list[dict[str, Any]] = json.loads((CORPUS / "questions.json").read_text("utf-8"))
    for question in questions:
        assert set(question["expected"]) <= pages, question["question"]


@pytest.mark.slow
def test_what_is_drawn_is_the_same_each_time(tmp_path: Path) -> None:
    drawn: list[dict[str, bytes]] = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        shutil.copytree(CORPUS / "build", folder / "build", ignore=shutil.ignore_patterns("__pycache__"))
        for script in DRAWN:
            command = [sys.executable, "-B", f"{script}.py"]
            subprocess.run(command, cwd=folder / "build", env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
        drawn.append(_files(folder))
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {name for name in _files(CORPUS) if name.split("/")[0] in DRAWN}
