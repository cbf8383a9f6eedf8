"""`minicpm models`: what a server offers, and which backend it was taken for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from minicpm_core.backends import backend_for_url
from minicpm_core.cli.screen import HEADING, QUIET, safe, say
from minicpm_core.models import card_for

if TYPE_CHECKING:
    from minicpm_core.backends import Backend
    from minicpm_core.cli.connection import Connection
    from minicpm_core.cli.screen import Screen
    from minicpm_core.client import MiniCPMClient
    from minicpm_core.types import ModelInfo


def models(connection: Connection, *, as_json: bool, screen: Screen) -> None:
    """Ask the server what it offers, and write it as a table.

    Args:
        connection: Which server.
        as_json: Write one line of JSON instead.
        screen: Where to write.

    Raises:
        MiniCPMError: The server does not tell.
    """
    with connection.client() as client:
        backend = client.backend()
        offered = client.list_models()
        base_url = client.config.base_url
        how = _how(client, backend)
    if as_json:
        rows = [{"id": row.id, "model": _name(row), "context_window": row.context_window} for row in offered]
        found = {"base_url": base_url, "backend": backend.name, "models": rows}
        screen.out.out(json.dumps(found, ensure_ascii=False), highlight=False)
        return
    say(screen.err, f"{base_url} {how}.", QUIET)
    if not offered:
        say(screen.err, "It lists no models. Ask it for one by name: minicpm ask --model NAME …", QUIET)
        return
    if not screen.out.is_terminal:
        for row in offered:
            screen.out.out(row.id, highlight=False)
        return
    screen.err.print()
    screen.out.print(_table(offered))


def _how(client: MiniCPMClient, backend: Backend) -> str:
    """Which backend the server was taken for, and why."""
    if client.config.backend != "auto":
        return f"is used as backend {backend.name}, as it was set"
    if backend.name == "generic":
        return "does not tell what it is, and is used as backend generic; name it with --backend"
    told = "address" if backend_for_url(client.config.base_url) else "answer"
    return f"was taken for {backend.title} (backend {backend.name}) by its {told}"


def _name(row: ModelInfo) -> str | None:
    card = card_for(row.id)
    return card.name if card.known else None


def _table(offered: list[ModelInfo]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style=HEADING, pad_edge=False, show_edge=False)
    table.add_column("id", overflow="fold")
    table.add_column("model")
    table.add_column("context", justify="right")
    table.add_column("thinks", justify="center")
    for row in offered:
        card = card_for(row.id)
        name = Text(card.name) if card.known else Text("not known here", style=QUIET)
        window = f"{row.context_window:,}" if row.context_window else ""
        table.add_row(Text(safe(row.id)), name, window, "yes" if card.thinking_default else "")
    return table
