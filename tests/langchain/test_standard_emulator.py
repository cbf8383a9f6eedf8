"""langchain-tests' own integration tests of a chat model, over real HTTP to the emulator.

`tests/servers/test_standard.py` runs them against any endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from tests.langchain.standard import StandardTests

if TYPE_CHECKING:
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory


class OnTheEmulator(StandardTests):
    """What all dialects share."""

    dialect: ClassVar[str]

    @pytest.fixture(autouse=True)
    def around(self, minicpm_emulator_factory: EmulatorFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MINICPM_BASE_URL", minicpm_emulator_factory(dialect=self.dialect).base_url)


class TestHosted(OnTheEmulator):
    dialect = "modelbest"
    details: ClassVar[tuple[str, ...]] = ("reasoning_output",)


class TestLlamaServer(OnTheEmulator):
    dialect = "llamacpp"
    details: ClassVar[tuple[str, ...]] = ("cache_read_input",)


class TestOmni(OnTheEmulator):
    """MiniCPM-o 4.5: hears, and is not trained for tools."""

    dialect = "vllm"
    name = "MiniCPM-O-4.5-9B"
