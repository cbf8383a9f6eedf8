"""What went over the wire, recorded as it was sent and cut for reading."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.text import Text

_DATA_URL = re.compile(r"(data:[\w.+/-]*;base64,.{8}).{16,}", re.DOTALL)


class Recorder:
    """An HTTP client that keeps what it sends. It is handed to an adapter as `http_client`."""

    def __init__(self, *, local: bool) -> None:
        """Open a client.

        Args:
            local: The server is on this machine, so that no proxy is asked.
        """
        self._requests: list[httpx.Request] = []
        self.client = httpx.Client(trust_env=not local, event_hooks={"request": [self._requests.append]})

    @property
    def question(self) -> httpx.Request:
        """The last request that asked something; finding out about the server does not count."""
        return next(request for request in reversed(self._requests) if request.method == "POST")

    def close(self) -> None:
        """Close the client."""
        self.client.close()


def cut(value: Any) -> Any:
    """JSON with every picture in it cut to its beginning and its length."""
    if isinstance(value, dict):
        return {name: cut(item) for name, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [cut(item) for item in cast("Iterable[Any]", value)]
    if isinstance(value, str):
        return _DATA_URL.sub(lambda found: f"{found[1]}… ({len(value):,} characters)", value)
    return value


def pretty(body: bytes) -> Text:
    """A request's JSON, cut, indented and coloured."""
    from rich.highlighter import JSONHighlighter
    from rich.text import Text

    text = Text(json.dumps(cut(json.loads(body)), ensure_ascii=False, indent=2))
    JSONHighlighter().highlight(text)
    return text
