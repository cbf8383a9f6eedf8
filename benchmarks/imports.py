"""What an import costs, each in a fresh process.

Every case imports the framework first, by the same statement: with CPython 3.11 the same modules take 25 % longer at
some depths of nested imports than at others, whoever imports them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

RUNS = 7
_PROBE = """
import json, resource, sys, time
begin = time.process_time()
exec(sys.argv[1])
print(json.dumps([
    (time.process_time() - begin) * 1e3,
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    len(sys.modules),
    "httpx" in sys.modules,
]))
"""
_LANGCHAIN = "import langchain_core.language_models.chat_models"
_LLAMA_INDEX = "import llama_index.core"
_CASES: dict[str, dict[str, str]] = {
    "LangChain": {
        "langchain_core chat_models alone": _LANGCHAIN,
        "ChatMiniCPM": f"{_LANGCHAIN}; from langchain_minicpm import ChatMiniCPM",
        "ChatMistralAI": f"{_LANGCHAIN}; from langchain_mistralai import ChatMistralAI",
        "ChatOpenAI": f"{_LANGCHAIN}; from langchain_openai import ChatOpenAI",
    },
    "LlamaIndex": {
        "llama_index.core alone": _LLAMA_INDEX,
        "MiniCPM": f"{_LLAMA_INDEX}; from llama_index_minicpm import MiniCPM",
        "OpenAILike": f"{_LLAMA_INDEX}; from llama_index.llms.openai_like import OpenAILike",
    },
}


def _probe(code: str) -> tuple[float, float, int, bool]:
    done = subprocess.run([sys.executable, "-c", _PROBE, code], check=True, capture_output=True, text=True)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def main() -> list[str]:
    """A table for each framework."""
    tables: list[str] = []
    for framework, cases in _CASES.items():
        samples: dict[str, list[tuple[float, float, int, bool]]] = {name: [] for name in cases}
        for _ in range(RUNS):
            for name, code in cases.items():
                samples[name].append(_probe(code))
        floor = statistics.median(sample[0] for sample in next(iter(samples.values())))
        memory = statistics.median(sample[1] for sample in next(iter(samples.values())))
        lines = [
            f"### {framework}: import",
            "",
            "| | CPU ms, median (least) | to the floor | MiB, over the floor | modules | imports httpx |",
            "|---|---:|---:|---:|---:|---|",
        ]
        for name, found in samples.items():
            cpu = [sample[0] for sample in found]
            mib = statistics.median(sample[1] for sample in found)
            lines.append(
                f"| {name} | {statistics.median(cpu):,.0f} ({min(cpu):,.0f}) | {statistics.median(cpu) / floor:.2f} | "
                f"{mib:.1f}, {mib - memory:+.1f} | {found[0][2]} | {'yes' if found[0][3] else 'no'} |"
            )
        tables.append("\n".join([*lines, ""]))
    return tables
