"""The script that makes the environments; that it succeeds is shown by every `make test`."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.house.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_an_install_that_failed_is_begun_again(tmp_path: Path) -> None:
    """A half-made environment is never taken for a whole one, and what is in it does not stay."""
    lock = tmp_path / "some.lock"
    lock.write_text(f"no-such-distribution==1.0 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    target = tmp_path / "venv"
    command = [sys.executable, str(ROOT / "requirements" / "install.py"), str(target), str(lock)]
    environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    for _ in range(2):
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        assert ran.returncode == 1
        assert "no-such-distribution" in ran.stderr
        assert "Run the same command again" in ran.stdout
        assert "Traceback" not in ran.stdout + ran.stderr
        assert not (target / "half-made").exists()
        (target / "half-made").touch()
