"""What importing the adapter brings with it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import llama_index_minicpm

_PROGRAM = """
import json, sys
import llama_index.core
before = set(sys.modules)
import llama_index_minicpm
llama_index_minicpm.MiniCPM()
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.fixture(scope="module")
def brought() -> set[str]:
    """The modules that importing the adapter and making a model adds to LlamaIndex's own."""
    ran = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout))


@pytest.mark.parametrize(
    "package", ["httpx", "httpcore", "h11", "anyio", "openai", "websockets", "starlette", "langchain_core"]
)
def test_nothing_that_only_a_call_needs_is_imported(package: str, brought: set[str]) -> None:
    assert package not in {name.partition(".")[0] for name in brought}


@pytest.mark.parametrize("module", ["minicpm_core.client", "minicpm_core.aio", "minicpm_core.protocol.request"])
def test_the_clients_are_imported_at_the_first_call(module: str, brought: set[str]) -> None:
    assert module not in brought


def test_the_public_names_are_documented() -> None:
    assert all(getattr(llama_index_minicpm, name).__doc__ for name in llama_index_minicpm.__all__)


def test_without_its_framework_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['llama_index'] = None; import llama_index_minicpm"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert 'pip install "minicpm-integrations[llama-index]"' in last
