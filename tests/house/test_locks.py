"""The lock files: complete, hashed, free of hosts, and in step with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.house.support import ROOT

LOCKS = ("dev.lock", "lowest.lock")
_PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _text(lock: str) -> str:
    return (ROOT / "requirements" / lock).read_text(encoding="utf-8")


def _pins(lock: str) -> dict[str, set[Version]]:
    """Canonical names and their versions; one may have several, for different Pythons."""
    pins: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", _text(lock), re.MULTILINE):
        pins.setdefault(canonicalize_name(name), set()).add(Version(version))
    return pins


def _runtime() -> list[Requirement]:
    """The requirements of the project and of its extras, apart from the extra that only collects the others."""
    extras = _PROJECT["project"]["optional-dependencies"]
    lists = [_PROJECT["project"]["dependencies"], *(extras[name] for name in extras if name != "all")]
    return [Requirement(text) for texts in lists for text in texts]


def _tools() -> list[Requirement]:
    """The requirements of the dependency groups."""
    groups = _PROJECT["dependency-groups"].values()
    return [Requirement(text) for group in groups for text in group if isinstance(text, str)]


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


def test_the_development_lock_satisfies_the_project() -> None:
    pins = _pins("dev.lock")
    for need in (*_runtime(), *_tools()):
        versions = pins[canonicalize_name(need.name)]
        assert all(need.specifier.contains(version) for version in versions), need


def test_the_lowest_lock_pins_the_declared_lower_bounds() -> None:
    """So that what is declared is what `make lowest` tests."""
    pins = _pins("lowest.lock")
    for need in _runtime():
        (bound,) = (Version(spec.version) for spec in need.specifier if spec.operator == ">=")
        assert pins[canonicalize_name(need.name)] == {bound}, need
