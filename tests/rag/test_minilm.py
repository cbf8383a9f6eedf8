"""The embeddings without torch are those of sentence-transformers, which made the recorded vectors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.rag.support import ROOT, example

RECORDED = json.loads((Path(__file__).parent / "data" / "minilm.json").read_text("utf-8"))
minilm: Any = example("minilm")


def test_the_vectors_are_those_of_sentence_transformers() -> None:
    assert RECORDED["made_with"].startswith("sentence-transformers")
    assert np.abs(minilm.embed(RECORDED["texts"]) - np.array(RECORDED["vectors"])).max() < 1e-5


def test_a_text_has_the_same_vector_in_any_company() -> None:
    alone = [minilm.embed([text])[0] for text in RECORDED["texts"]]
    assert np.abs(minilm.embed(RECORDED["texts"], batch_size=4) - np.array(alone)).max() < 1e-5


def test_no_text_is_no_vector() -> None:
    assert minilm.embed([]).shape == (0, 384)


async def test_llama_index_gets_the_same() -> None:
    model = minilm.MiniLM()
    assert model.get_text_embedding("A cat.") == model.get_query_embedding("A cat.")
    assert await model.aget_query_embedding("A cat.") == model.get_query_embedding("A cat.")


def test_it_shows_what_is_alike_without_torch() -> None:
    program = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__'); assert 'torch' not in sys.modules"
    script = str(ROOT / "examples" / "minilm.py")
    ran = subprocess.run([sys.executable, "-c", program, script], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("[[ 1. ")
