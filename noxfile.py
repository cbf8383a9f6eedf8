"""The checks on every supported Python, each in an environment of its own: `nox`, or `nox -s tests-3.12`.

What a check runs stands in the Makefile alone; a session gives it the environment.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "contracts", "tests"]

PYTHONS = ("3.11", "3.12", "3.13")
ROOT = Path(__file__).parent


def install(session: nox.Session, lock: str) -> None:
    """What the lock lists, no more; see docs/decisions/0001-distribution-and-locks.md."""
    session.install("--no-deps", "--require-hashes", "--requirement", f"requirements/{lock}")


def make(session: nox.Session, target: str) -> None:
    """Run a target of the Makefile in an environment with this checkout."""
    install(session, "dev.lock")
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
    session.run("make", target, f"BIN={session.bin}", external=True)


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Ruff: rules and format."""
    make(session, "lint")


@nox.session(python=PYTHONS[0])
def types(session: nox.Session) -> None:
    """The type checkers mypy and pyright, both strict."""
    make(session, "types")


@nox.session(python=PYTHONS[0])
def contracts(session: nox.Session) -> None:
    """import-linter: who may import what."""
    make(session, "contracts")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests, with branch coverage of the core."""
    make(session, "tests")


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the tests on the oldest supported versions."""
    install(session, "lowest.lock")
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
    session.run("python", "-m", "pytest", "-q", *session.posargs)


@nox.session(python=PYTHONS[0])
def rag(session: nox.Session) -> None:
    """Run the tests of real stores, Ray, notebooks and the app."""
    install(session, "rag.lock")
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
    session.run("python", "-m", "pytest", "-q", "tests/rag", *session.posargs)


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """Run the tests on the wheel that `make dist` built, from a copy of this checkout that lacks the packages."""
    (built,) = (ROOT / "dist").glob("*.whl")
    install(session, "dev.lock")
    session.install("--no-deps", "--no-index", str(built))
    copy = Path(session.create_tmp()) / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    left_out = shutil.ignore_patterns(
        ".*", "dist", "langchain_minicpm", "llama_index_minicpm", "minicpm_core", "__pycache__"
    )
    shutil.copytree(ROOT, copy, ignore=left_out)
    session.chdir(copy)
    session.run("python", "-m", "pytest", "-q", "--ignore", "tests/house", *session.posargs)
