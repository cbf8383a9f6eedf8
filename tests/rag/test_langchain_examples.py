"""The LangChain notebook, and recall over the corpus with embeddings, as they are."""

# What these use is in .venv-rag, not where types are checked.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "notebooks" / "langchain_rag.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    assert all(cell.get("outputs", []) == [] for cell in book.cells), "stored without outputs"
    NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": NOTEBOOK.parent}}
    ).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    shown = "".join(output.get("text", "") for output in outputs)
    assert "signs/jazz_poster.png" in shown
    assert "mostly purple" in shown
    assert "search_pictures" in shown
    assert any("image/png" in output.get("data", {}) for output in outputs), "pictures are shown"
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.slow
def test_every_picture_is_found_by_what_the_emulator_says_of_it() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "recall.py")],
        env=os.environ, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "81 pictures and pages, 62 questions." in ran.stdout
    (row,) = re.findall(r"^measures.*$", ran.stdout, re.MULTILINE)
    number, _, bm25, _, minilm, _, both = [int(cell) for cell in re.findall(r"\d+", row)]
    assert number == 30
    assert bm25 == both == 100
    assert minilm >= 80
