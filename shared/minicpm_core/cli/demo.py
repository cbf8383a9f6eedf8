"""`minicpm demo`: one real photograph, asked about through LangChain and through LlamaIndex, and what that sent."""

from __future__ import annotations

import ast
import inspect
import json
import shutil
import sys
import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from minicpm_core.cli.connection import THINKING_MODEL, Connection
from minicpm_core.cli.emulate import NOT_A_MODEL
from minicpm_core.cli.frameworks import FRAMEWORKS, import_framework
from minicpm_core.cli.inputs import Question
from minicpm_core.cli.screen import HEADING, NOTICE, QUIET, THOUGHT, Typewriter, bar, say
from minicpm_core.cli.show import Answer, show
from minicpm_core.cli.thumbnail import thumbnail
from minicpm_core.cli.wire import Recorder, pretty
from minicpm_core.errors import ConfigurationError
from minicpm_core.media import image_from_path, load_image

if TYPE_CHECKING:
    import httpx
    from rich.console import Console

    from minicpm_core.cli.frameworks import Asker
    from minicpm_core.cli.screen import Screen

QUESTION = "Describe this photograph."
_SHOWN = {"LangChain": "langchain", "LlamaIndex": "llama-index"}
"""Titles and names of what is shown."""
_PACE = 60.0
"""Tokens a second of the emulator, where somebody watches: about as fast as a small model."""
_INDENT = 4
_HOMES = (Path(__file__).parent / "photos", Path(__file__).parents[3] / "examples" / "photos")
"""Where the example photographs are: in a wheel, and in a checkout."""


def demo(photo: Path | None, connection: Connection, *, emulator: bool, max_tokens: int | None, screen: Screen) -> None:
    """Show the whole way of a photograph, on standard output.

    Args:
        photo: The photograph; `None` takes an example.
        connection: Which server, where one is named or there is a key for the hosted one.
        emulator: Use the emulator all the same.
        max_tokens: The most tokens of each answer.
        screen: Where to write.

    Raises:
        MiniCPMError: It did not end well.
    """
    path = photo or example_photo()
    out = screen.out
    for framework in _SHOWN.values():
        import_framework(framework)
    with ExitStack() as stack:
        local = emulator or not connection.is_set
        if local:
            connection = _emulator(stack, watched=out.is_terminal)
        settings = {**connection.settings(thinking_model=True), "max_tokens": max_tokens}
        _opening(path, settings, local=local, out=out)
        question = Question(QUESTION, (path,))
        answers: dict[str, Answer] = {}
        sent: dict[str, httpx.Request] = {}
        for title, framework in _SHOWN.items():
            recorder = Recorder(local=local)
            stack.callback(recorder.close)
            _heading(title, out)
            answers[title] = _act(FRAMEWORKS[framework], question, {**settings, "http_client": recorder.client}, out)
            sent[title] = recorder.question
        _on_the_wire(sent, out)
        _counts(answers, out)
        _next_steps(out, local=local)


def example_photo() -> Path:
    """The first of the example photographs.

    Raises:
        ConfigurationError: They are not there.
    """
    found = sorted(path for home in _HOMES for path in home.glob("*.jpg"))
    if not found:
        raise ConfigurationError(
            "The example photographs are part of the repository and were not found. "
            "Name a picture of your own: minicpm demo photo.jpg"
        )
    return found[0]


def _emulator(stack: ExitStack, *, watched: bool) -> Connection:
    """A connection to an emulator that runs until the stack is closed."""
    from minicpm_core.emulator import EmulatorServer

    server = stack.enter_context(EmulatorServer(dialect="vllm", pace=_PACE if watched else 0.0))
    return Connection(model=THINKING_MODEL, base_url=server.base_url, backend="vllm")


def _opening(path: Path, settings: dict[str, Any], *, local: bool, out: Console) -> None:
    """The photograph, who is asked, and what."""
    (part,) = load_image(image_from_path(path), accept=frozenset({"image/jpeg", "image/png"}))
    out.print()
    out.print(Text("MiniCPM through LangChain and LlamaIndex", style=HEADING))
    out.print()
    small = thumbnail(path, out, width=min(40, out.width - 2))
    if small is not None:
        out.print(small, crop=False, soft_wrap=True)
    say(out, f"{path.name}, {part.width} x {part.height} pixels, {path.stat().st_size:,} bytes")
    say(out, f"“{QUESTION}”" if _writes(out, "“”") else f'"{QUESTION}"')
    out.print()
    if local:
        say(out, f"The emulator answers. {NOT_A_MODEL} It needs no key, and nothing leaves this machine.", NOTICE)
    else:
        say(out, f"{settings['model']} answers, at {settings['base_url']}.")


def _writes(out: Console, text: str) -> bool:
    try:
        text.encode(out.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _act(asker: Asker, question: Question, settings: dict[str, Any], out: Console) -> Answer:
    """One framework: the code, then what comes of it."""
    highlighted = Syntax("", "python", theme="ansi_dark", background_color="default").highlight(code_of(asker))
    highlighted.no_wrap = False
    _indented(highlighted, out)
    out.print()
    given = {name: value for name, value in settings.items() if value is not None}
    return show(
        asker(question, **given),
        thoughts=Typewriter(out, title="thoughts", margin=bar(out), style=THOUGHT),
        answer=Typewriter(out, title="answer"),
        gap=Typewriter(out),
    )


def code_of(function: Any) -> str:
    """The body of a function as it is written, without its docstring."""
    source = textwrap.dedent(inspect.getsource(function))
    definition = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    body = source.splitlines()[definition.body[1].lineno - 1 :]
    return textwrap.dedent("\n".join(body))


def _indented(text: Text, out: Console) -> None:
    """A block set in from the left, each line of it where it breaks; a pipe gets no blanks at the ends of lines."""
    text.rstrip()
    if out.is_terminal:
        out.print(Padding(text, (0, 0, 0, _INDENT)))
    else:
        out.print(textwrap.indent(text.plain, " " * _INDENT), soft_wrap=True)


def _on_the_wire(sent: dict[str, httpx.Request], out: Console) -> None:
    """The requests, once where both frameworks sent the same."""
    bodies = {name: json.loads(request.content) for name, request in sent.items()}
    first, *others = sent
    same = all(bodies[name] == bodies[first] for name in others)
    _heading("On the wire", out)
    for name in [first] if same else sent:
        request = sent[name]
        who = "Both sent this:" if same else f"{name} sent:"
        say(out, f"{who} POST {request.url}, {len(request.content):,} bytes")
        out.print()
        out.print(pretty(request.content), soft_wrap=not out.is_terminal)


def _counts(answers: dict[str, Answer], out: Console) -> None:
    """Tokens and times, a row for each framework."""
    _heading("Counts", out)
    table = Table(box=box.SIMPLE_HEAD, header_style=HEADING, pad_edge=False, show_edge=False, collapse_padding=True)
    table.add_column("through", no_wrap=True)
    for title in ("prompt", "answer", "first", "in all"):
        table.add_column(title, justify="right")
    for name, answer in answers.items():
        usage = answer.completion.usage
        table.add_row(
            name,
            f"{usage.prompt_tokens:,}" if usage else "not told",
            f"{usage.completion_tokens:,}" if usage else "not told",
            "" if answer.first is None else f"{answer.first:.2f} s",
            f"{answer.seconds:.2f} s",
        )
    out.print(table)
    out.print()
    say(out, "Tokens as the server counted them; thoughts are part of the answer. Times without imports.", QUIET)


def _next_steps(out: Console, *, local: bool) -> None:
    """What to try now."""
    _heading("Next", out)
    minicpm = _command()
    steps = [
        (f'{minicpm} ask photo.jpg "What is this?"', "a picture of your own"),
        (f"{minicpm} models", "what a server offers"),
        (f"{minicpm} emulate", "the emulator, for your own programs"),
    ]
    if local:
        steps = [
            ("export MINICPM_BASE_URL=http://localhost:8000/v1", "your own vLLM, SGLang, llama-server, Ollama …"),
            ("export MINICPM_API_KEY=…", "or the hosted API; then run this again"),
            *steps,
        ]
    for command, purpose in steps:
        out.print(Text(command, style=HEADING), soft_wrap=True)
        _indented(Text(purpose, style=QUIET), out)
    out.print()


def _command() -> str:
    """What to type for this command: its name alone works only where its folder is on the PATH."""
    beside = Path(sys.executable).with_name("minicpm")
    if shutil.which("minicpm") or not beside.exists():
        return "minicpm"
    here = Path.cwd()
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)


def _heading(title: str, out: Console) -> None:
    out.print()
    out.print(Rule(Text(title, style=HEADING), align="left", style=QUIET))
    out.print()
