"""For servers without parsers: what the tiny model is told of tools."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minicpm_core.protocol import prompted
from tests.servers.support import NO_PARSERS

_WORDING = (
    "These functions can be called, one JSON description a line:\n<tools>\n{tools}\n</tools>\n"
    "Call one with a <tool_call> block: <function=NAME>, then a <parameter=KEY> block for each argument."
)


@pytest.fixture(autouse=True)
def the_models_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declares tools in the words of the tiny model's template, where we do it in place of the server.

    Ours are those of the real models' templates, which this model has never seen: it knows its own by heart, and
    nothing else.  All but the words is as ever.
    """
    if NO_PARSERS:
        forms = prompted._FORMS
        monkeypatch.setitem(forms, "xml", replace(forms["xml"], declaration=_WORDING))
