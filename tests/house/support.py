"""Where the checkout is, and an environment that holds nothing but the built wheel."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("langchain_minicpm", "llama_index_minicpm", "minicpm_core")


def source_of(package: str) -> Path:
    """The folder of an import package in the checkout."""
    return ROOT / "shared" / package if package == "minicpm_core" else ROOT / package


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment without system packages, without pip."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def run(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program there. `-I`: neither the working directory nor PYTHONPATH can lend it a module."""
        return subprocess.run(
            [self.python, "-I", "-W", "error", "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", "")},
        )

    def lend(self, *distributions: str) -> None:
        """Make distributions of the running environment importable, with what they need and nothing else."""
        waiting, lent = list(distributions), set[str]()
        while waiting:
            name = waiting.pop()
            if name in lent:
                continue
            lent.add(name)
            distribution = importlib.metadata.distribution(name)
            tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in {"..", "__pycache__"}}
            for top in tops:
                link = self.site_packages / top
                if not link.exists():
                    link.symlink_to(Path(str(distribution.locate_file(top))))
            needs = [Requirement(text) for text in distribution.requires or ()]
            waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]


def make_environment(folder: Path, wheel: Path) -> Environment:
    """An empty environment with the wheel, and none of what the wheel asks for."""
    environment = Environment(folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(environment.python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    return environment
