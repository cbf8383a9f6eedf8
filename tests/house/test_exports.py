"""The public names: a name that comes or goes is a decision, and shows in this file."""

from __future__ import annotations

import importlib

import pytest

from tests.house.support import PACKAGES


def _order(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then the rest, as ruff sorts them."""
    return not name.isupper(), not name[0].isupper(), name


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_sorted_and_importable(package: str) -> None:
    module = importlib.import_module(package)
    names = list(module.__all__)
    assert names == sorted(set(names), key=_order)
    assert [name for name in names if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_shows_every_public_name(package: str) -> None:
    """Also those that are imported lazily, so that completion finds them."""
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name
