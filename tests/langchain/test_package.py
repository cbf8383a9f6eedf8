"""What importing the package does, and does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

import langchain_minicpm


def run(script: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_langchain_it_says_what_to_install() -> None:
    script = """
import sys
sys.modules["langchain_core"] = None
try:
    import langchain_minicpm
except ImportError as error:
    print(error)
"""
    assert 'pip install "minicpm-integrations[langchain]"' in run(script)


def test_importing_and_constructing_imports_no_http_library() -> None:
    """Where httpx-aiohttp is installed, langsmith imports httpx by itself: it is hidden here."""
    script = """
import sys
sys.modules["httpx_aiohttp"] = None
from langchain_minicpm import ChatMiniCPM
ChatMiniCPM(api_key="sk-test")
heavy = ("httpx", "httpcore", "PIL", "transformers", "openai", "starlette", "websockets")
print([name for name in heavy if name in sys.modules])
"""
    assert run(script) == "[]"


@pytest.mark.parametrize("name", langchain_minicpm.__all__)
def test_public_names_are_there_and_documented(name: str) -> None:
    assert getattr(langchain_minicpm, name).__doc__
