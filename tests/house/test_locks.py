"""The lock files: complete, hashed, free of hosts, and in step with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.house.support import ROOT

if TYPE_CHECKING:
    from collections.abc import Collection

LOCKS = ("bench.lock", "dev.lock", "lowest.lock", "rag.lock")
_PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _text(lock: str) -> str:
    return (ROOT / "requirements" / lock).read_text(encoding="utf-8")


def _pins(lock: str) -> dict[str, set[Version]]:
    """Canonical names and their versions; one may have several, for different Pythons."""
    pins: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", _text(lock), re.MULTILINE):
        pins.setdefault(canonicalize_name(name), set()).add(Version(version))
    return pins


_OPTIONAL: dict[str, list[str]] = _PROJECT["project"]["optional-dependencies"]
_HEAVY = frozenset({"audio", "ray"})
"""Extras that `all` leaves out: they need a system's library, or weigh more than all the rest."""

_ALL = frozenset(_OPTIONAL) - _HEAVY - {"all"}
_BENCHMARKED = frozenset({"langchain", "llama-index", "media"})
"""Extras of the benchmarks' environment: what most users install."""


def _runtime(extras: Collection[str]) -> list[Requirement]:
    """The requirements of the project and of some extras."""
    chosen = [_OPTIONAL[name] for name in extras]
    lists = [_PROJECT["project"]["dependencies"], *chosen]
    return [Requirement(text) for texts in lists for text in texts]


def _group(name: str) -> list[Requirement]:
    """The requirements of a dependency group and of the groups in it."""
    found: list[Requirement] = []
    for entry in _PROJECT["dependency-groups"][name]:
        found += [Requirement(entry)] if isinstance(entry, str) else _group(entry["include-group"])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_and_hashed(lock: str) -> None:
    requirements = re.split(r"^(?=[\w.-]+)", _text(lock), flags=re.MULTILINE)
    wrong = [text for text in requirements if text.strip() and not ("==" in text and "--hash=sha256:" in text)]
    assert wrong == []
    assert len(requirements) > 50


@pytest.mark.parametrize("lock", LOCKS)
def test_no_index_or_host_is_named(lock: str) -> None:
    """Where packages come from is each machine's own setting."""
    assert re.findall(r"^.*(?:://|--index|--find-links|--trusted).*$", _text(lock), re.MULTILINE) == []


@pytest.mark.parametrize(
    ("lock", "group", "extras"),
    [
        ("bench.lock", "bench", _BENCHMARKED),
        ("dev.lock", "dev", _ALL | {"audio"}),
        ("lowest.lock", "test", _ALL),
        ("rag.lock", "rag", _ALL | _HEAVY),
    ],
)
def test_the_locks_satisfy_the_project(lock: str, group: str, extras: Collection[str]) -> None:
    """A change of pyproject.toml was followed by `make lock`."""
    pins = _pins(lock)
    for need in (*_runtime(extras), *_group(group)):
        versions = pins[canonicalize_name(need.name)]
        assert all(need.specifier.contains(version) for version in versions), need


def test_the_lowest_lock_pins_the_declared_lower_bounds() -> None:
    """So that what is declared is what `make lowest` tests."""
    pins = _pins("lowest.lock")
    for need in _runtime(_ALL):
        (bound,) = (Version(spec.version) for spec in need.specifier if spec.operator == ">=")
        assert pins[canonicalize_name(need.name)] == {bound}, need
