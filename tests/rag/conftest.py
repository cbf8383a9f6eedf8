"""Tests on real stores, Ray, notebooks and the app: `make rag` runs them, in an environment that has these."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("chromadb") else ["test_*.py"]
