"""Every page: its code runs, its commands and links exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import errors
from minicpm_core.cli import main
from minicpm_core.emulator import DIALECTS, FAULTS, SESSION_FAULTS
from tests.docs.pages import PAGES, README, ROOT, Block, blocks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODED = [page for page in PAGES if page != README and any(blocks(page, "python"))]
_COMMANDS = sorted({
    line.split("#")[0].strip()
    for page in PAGES
    for block in blocks(page, "sh")
    for line in block.code.splitlines()
    if line.startswith("minicpm ")
})  # fmt: skip


def anchor(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", _CODED, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_from_its_top_to_its_end(
    page: Path, run: Callable[[Block, dict[str, Any]], None]
) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page, "python"):
        run(block, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith("https://"):
            continue
        name, _, place = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), link
        if place:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in map(anchor, headings), link


@pytest.mark.parametrize("line", _COMMANDS)
def test_every_command_that_is_shown_exists_with_its_options(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = line.split()[1]
    assert main([command, "--help"]) == 0
    known = set(re.findall(r"--?[a-z][a-z-]*", capsys.readouterr().out))
    assert set(re.findall(r" (--[a-z][a-z-]*)", line)) <= known


def test_every_target_of_make_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        named = {
            found for block in blocks(page, "sh") for found in re.findall(r"^make (\w+)", block.code, re.MULTILINE)
        }
        assert named <= targets


def test_the_page_of_errors_has_every_error_in_the_tree_and_in_the_table() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    tree, table = page.split("## What to do")
    names = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.MiniCPMError)
    }
    assert (
        set(re.findall(r"\b(\w+Error)\b(?!\))", tree[: tree.rindex("```")])) - {"TimeoutError", "ConnectionError"}
        == names
    )
    abstract = {"MiniCPMError", "APIError", "APIStatusError"}
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == names - abstract


def test_the_page_of_the_emulator_has_every_fault_and_every_dialect() -> None:
    page = (ROOT / "docs" / "emulator.md").read_text(encoding="utf-8")
    assert [name for name in (*FAULTS, *SESSION_FAULTS) if not re.search(rf"`{name}[`=]", page)] == []
    assert [name for name in DIALECTS if f"`{name}`" not in page] == []


def test_the_readme_leads_to_every_page() -> None:
    text = README.read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []
