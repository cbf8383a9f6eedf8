"""langchain-tests' own integration tests against any endpoint.

Set `MINICPM_TEST_ENDPOINT` to its base URL, and `MINICPM_TEST_MODEL` and `MINICPM_TEST_KEY` where they are not the
usual ones.  The tests ask a model to do something of its own, which the tiny test model cannot: they need a real one,
or the emulator.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.langchain.standard import THINKING, StandardTests
from tests.servers.support import KEY, MODEL

ENDPOINT = os.environ.get("MINICPM_TEST_ENDPOINT", "")
if not ENDPOINT:
    pytest.skip("Set MINICPM_TEST_ENDPOINT to the base URL of a server with a real model.", allow_module_level=True)


@pytest.mark.server
class TestAnyEndpoint(StandardTests):
    """Nothing is said of what the server is; another model that it serves is named by `MINICPM_TEST_OTHER_MODEL`."""

    name = MODEL

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": MODEL, "api_key": KEY, "base_url": ENDPOINT, "timeout": 180}

    @property
    def supports_model_override(self) -> bool:
        return bool(self.model_override_value)

    @property
    def model_override_value(self) -> str:
        return os.environ.get("MINICPM_TEST_OTHER_MODEL", THINKING if MODEL == "MiniCPM-V-4.6-1B" else "")
