"""What a `pip install` puts on a disk."""

from __future__ import annotations

import configparser
import email
import json
import tomllib
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from tests.house.support import PACKAGES, ROOT, Environment, source_of

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

pytestmark = pytest.mark.slow

_INSTALLED = """
import importlib.metadata, json
distribution = importlib.metadata.distribution("minicpm-integrations")
print(json.dumps([[str(file), file.locate().is_file()] for file in distribution.files]))
"""


@pytest.fixture(scope="module")
def installed(bare: Environment) -> set[str]:
    """Paths below site-packages that the installation brought."""
    ran = bare.run(_INSTALLED)
    assert ran.returncode == 0, ran.stderr
    files = json.loads(ran.stdout)
    assert [path for path, exists in files if not exists] == []
    return {path for path, _ in files}


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_only_the_three_packages_are_installed(installed: set[str]) -> None:
    """In particular no top-level `shared`, `tests`, `benchmarks` or `examples`."""
    tops = {path.split("/")[0] for path in installed if not path.startswith("../")}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert {path for path in installed if path.startswith("../")} == {"../../../bin/minicpm"}


def test_every_source_file_is_installed(installed: set[str]) -> None:
    for package in PACKAGES:
        source = source_of(package)
        files = {f"{package}/{path.relative_to(source).as_posix()}" for path in source.rglob("*.py")}
        assert files <= installed


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_tells_type_checkers_that_it_is_typed(package: str, installed: set[str]) -> None:
    assert f"{package}/py.typed" in installed


def test_the_photographs_of_the_demo_travel_with_their_licences(installed: set[str]) -> None:
    shipped = {path.name for path in (ROOT / "examples" / "photos").iterdir()}
    assert shipped >= {"LICENSES.md", "cat.jpg"}
    assert {f"minicpm_core/cli/photos/{name}" for name in shipped} <= installed


def test_the_licence_travels_with_the_wheel(installed: set[str]) -> None:
    assert any(path.endswith(".dist-info/licenses/LICENSE") for path in installed)


def test_every_entry_point_names_a_shipped_module(wheel: Path, installed: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        entries = configparser.ConfigParser()
        entries.read_string(archive.read(name).decode())
    assert entries["console_scripts"]["minicpm"] == "minicpm_core.cli:main"
    for section in entries.sections():
        for target in entries[section].values():
            module = target.split(":")[0].replace(".", "/")
            assert {f"{module}.py", f"{module}/__init__.py"} & installed, target


def test_a_plain_install_asks_for_httpx_alone(metadata: Message) -> None:
    needs = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
    assert [need.name for need in needs if need.marker is None] == ["httpx"]


def test_the_extra_all_holds_every_light_extra(metadata: Message) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(metadata.get_all("Provides-Extra", []))
    heavy = {"audio", "ray"}  # a system's library; 250 MB
    light = {"aiohttp", "cli", "emulator", "langchain", "llama-index", "media", "realtime", "search"}
    assert extras == light | heavy | {"all"}
    (everything,) = (Requirement(text) for text in project["optional-dependencies"]["all"])
    assert everything.extras == light
