"""The example modules, as tests import them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]


def example(name: str) -> ModuleType:
    """A script of `examples/` as a module.

    Args:
        name: Without its ending.
    """
    known = sys.modules.get(name)
    if known is not None:
        return known
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def real(name: str) -> Any:
    """A module that only this environment has, so that type checkers do not look for it.

    Args:
        name: With dots.
    """
    return importlib.import_module(name)
