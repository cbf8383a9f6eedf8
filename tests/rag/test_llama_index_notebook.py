"""The notebook runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

from typing import Any

import pytest

from minicpm_core.emulator import EmulatorServer
from tests.rag.support import ROOT, real

NOTEBOOK = ROOT / "examples" / "notebooks" / "llama_index_rag.ipynb"


@pytest.mark.filterwarnings("ignore:::zmq")  # pyzmq on event loops
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # nbclient leaves its channels to the collector
def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with EmulatorServer(dialect="vllm") as server:
        monkeypatch.setenv("MINICPM_BASE_URL", server.base_url)
        notebook = real("nbformat").read(NOTEBOOK, as_version=4)
        client = real("nbclient").NotebookClient(
            notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(ROOT / "examples")}}
        )
        client.execute()
        chats = [request for request in server.requests if request.body]
    shown = "".join(str(_texts(cell)) for cell in notebook.cells if cell.cell_type == "code")
    assert "cat.jpg | What looks like a photo" in shown
    assert "photos/rocket.jpg" in shown
    assert len(chats) == 4  # three captions and an answer


def _texts(cell: Any) -> list[str]:
    return [str(output.get("text") or output.get("data", {}).get("text/plain", "")) for output in cell.outputs]
