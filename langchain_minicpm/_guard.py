"""Where errors of the core become LangChain's. The classes themselves are imported when there is one to raise."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from minicpm_core.errors import MiniCPMError

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def langchain_errors() -> Generator[None]:
    """Raise every error of the core that leaves this block in its LangChain class."""
    try:
        yield
    except MiniCPMError as error:
        from langchain_minicpm._errors import as_langchain

        raise as_langchain(error) from error.__cause__
