"""A run that is killed is taken up where it was: only calls that were under way are made again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tests.rag.support import ROOT, real

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_killed_run_loses_and_repeats_nothing_that_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "benchmarks")])
    cases: Any = real("rag_cases")
    count = len(cases.pictures(tmp_path / "pictures", 120))
    with cases.Emulator() as server:
        kept, before, after = cases.killed_and_resumed(server, tmp_path / "pictures", tmp_path / "cache", 40)
    assert 40 <= kept < count
    assert after == count - kept
    assert kept <= before <= kept + cases.AT_A_TIME
