"""`minicpm ask`: a question about one's own pictures, or about none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from minicpm_core.cli.frameworks import FRAMEWORKS, import_framework
from minicpm_core.cli.screen import QUIET, THOUGHT, Typewriter, bar
from minicpm_core.cli.show import Answer, NoWriter, PlainWriter, Writer, show

if TYPE_CHECKING:
    from rich.console import Console

    from minicpm_core.cli.inputs import Question
    from minicpm_core.cli.screen import Screen

CUT = "The answer was cut at the token limit: --max-tokens raises it."


def ask(question: Question, settings: dict[str, Any], *, framework: str, as_json: bool, screen: Screen) -> None:
    """Ask, and write the answer as it comes.

    Args:
        question: What to ask.
        settings: Of the client and the request.
        framework: A key of `FRAMEWORKS`.
        as_json: Write one line of JSON at the end instead.
        screen: Where to write.

    Raises:
        MiniCPMError: It did not end well. What came until then has been written.
    """
    import_framework(framework)
    given = {name: value for name, value in settings.items() if value is not None}
    deltas = FRAMEWORKS[framework](question, **given)
    if as_json:
        answer = show(deltas, thoughts=NoWriter(), answer=NoWriter(), gap=NoWriter())
        screen.out.out(json.dumps(answer.as_json(), ensure_ascii=False), highlight=False)
        return
    answer = show(
        deltas,
        thoughts=writer(screen.err, margin=bar(screen.err), style=THOUGHT),
        answer=writer(screen.out),
        gap=PlainWriter(screen.err),
    )
    _afterwards(answer, screen)


def writer(console: Console, *, margin: str = "", style: str = "") -> Writer:
    """One that suits the console: with margin, style and line breaks for a terminal, plain for a pipe."""
    return Typewriter(console, margin=margin, style=style) if console.is_terminal else PlainWriter(console)


def _afterwards(answer: Answer, screen: Screen) -> None:
    if screen.err.is_terminal:
        screen.err.print()
        screen.note(answer.summary())
    if answer.completion.finish_reason == "length":
        screen.note(CUT, QUIET)
