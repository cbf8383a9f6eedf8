"""Run the benchmarks and print their tables as Markdown.

    python benchmarks/run.py [imports] [langchain] [llama_index] [media] [agents] [realtime] [rag]

Each section runs in a process of its own, ours beside the peers, raw httpx and the framework's bare floor, in one run.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from server import Server

SECTIONS = ("imports", "langchain", "llama_index", "media", "agents", "realtime", "rag")
PACKAGES = (
    "langchain-core", "langchain-openai", "langchain-mistralai", "llama-index-core", "llama-index-llms-openai-like",
    "openai", "httpx", "pydantic", "pillow", "av", "websockets",
)  # fmt: skip


def _section(name: str) -> None:
    if name == "imports":
        print("\n".join(import_module("imports").main()))
        return
    with Server() as server:
        print("\n".join(import_module(f"{name}_cases").main(server)))


def main() -> int:
    """Run the sections that are named, or all."""
    asked = sys.argv[1:] or list(SECTIONS)
    if asked[0] == "--section":
        _section(asked[1])
        return 0
    unknown = [name for name in asked if name not in SECTIONS]
    if unknown:
        print(f"Unknown section {unknown[0]!r}: it must be one of {', '.join(SECTIONS)}.", file=sys.stderr)
        return 2
    print(f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in PACKAGES) + "\n")
    for name in asked:
        print(f"{name} …", file=sys.stderr)
        done = subprocess.run([sys.executable, str(Path(__file__)), "--section", name], check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
