"""The README: its examples run, and its tables say what the code does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import errors
from minicpm_core.backends import BACKENDS, Backend
from minicpm_core.config import DEFAULT_BASE_URL, KEY_VARIABLES, Timeouts
from minicpm_core.models import DEFAULT_MODEL
from tests.docs.pages import README, ROOT, Block, blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.emulator import EmulatorServer

TEXT = README.read_text(encoding="utf-8")
EXAMPLES = list(blocks(README, "python"))
_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp"}


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_every_example_runs_by_itself(
    example: Block, run: Callable[[Block, dict[str, Any]], None], served: EmulatorServer
) -> None:
    run(example, {"__name__": "example"})
    assert [request for request in served.requests if request.method == "POST"] != [], "it asked something"


@pytest.mark.parametrize(("title", "said"), [("LangChain", "photo"), ("LlamaIndex", "photo")])
def test_the_first_examples_answer_about_the_photograph_in_ten_lines(
    title: str, said: str, run: Callable[[Block, dict[str, Any]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    start = TEXT[: TEXT.index(f"\n## {title}\n")].count("\n")
    example = next(example for example in EXAMPLES if example.line > start)
    run(example, {"__name__": "example"})
    assert "451 x 300 pixels" in capsys.readouterr().out
    assert len([line for line in example.code.splitlines() if line]) <= 10


def test_it_opens_with_one_sentence_and_the_two_commands() -> None:
    _, sentence, commands = TEXT.split("\n\n")[:3]
    assert sentence.count(".") == 1
    assert re.findall(r"^make \w+", commands, re.MULTILINE) == ["make demo", "make test"]


def _backend_rows() -> dict[str, list[str]]:
    section = TEXT[TEXT.index("\n## Backends\n") : TEXT.index("\n## Thinking\n")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "| `" in line]
    return {row[0].strip("`"): row for row in rows}


def test_the_table_of_backends_names_every_backend() -> None:
    assert list(_backend_rows()) == list(BACKENDS)


@pytest.mark.parametrize("backend", BACKENDS.values(), ids=lambda backend: backend.name)
def test_each_row_of_the_table_is_what_the_code_does(backend: Backend) -> None:
    _, _, switch, thoughts, pictures, counts, notes = _backend_rows()[backend.name]
    assert switch == ("not known" if backend.thinking == "none" else f"`{backend.thinking}`")
    assert thoughts == (f"`{backend.history_reasoning}`" if backend.history_reasoning else "either")
    assert {_TYPES[name] for name in pictures.split(", ")} == backend.image_types
    assert (counts in {"asked for", "always sent"}) == backend.stream_usage
    assert ("needs a key" in notes) == backend.needs_key
    assert ("refuses unknown fields" in notes) == (backend.fields is not None)


def test_the_settings_are_those_of_the_code() -> None:
    section = TEXT[TEXT.index("\n## Where they ask\n") : TEXT.index("\n## Backends\n")]
    for name in (
        *KEY_VARIABLES,
        "MINICPM_BASE_URL",
        "MINICPM_MODEL",
        "MINICPM_BACKEND",
        DEFAULT_BASE_URL,
        DEFAULT_MODEL,
    ):
        assert f"`{name}`" in section
    default = Timeouts()
    written = f"connect={default.connect:g}, read={default.read:g}, write={default.write:g}, pool={default.pool:g}"
    assert f"`Timeouts({written})`" in TEXT


def test_every_error_that_is_named_exists() -> None:
    names = set(re.findall(r"\b[A-Z]\w+Error\b", TEXT)) - {"ModelRateLimitError"}  # langchain-core's
    assert {name for name in names if not hasattr(errors, name)} == set()


def test_every_extra_of_the_package_is_told() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project[project.index("[project.optional-dependencies]") : project.index("[project.scripts]")]
    extras = set(re.findall(r"^([\w-]+) = ", section, re.MULTILINE))
    install = TEXT[TEXT.index("\n## Install\n") : TEXT.index("\n## LangChain\n")]
    assert extras == set(re.findall(r"\[([a-z-]+)\]", install))
