"""`minicpm search`: the pictures whose captions fit a question, and an answer by the model that looked at them."""

from __future__ import annotations

import binascii
import contextlib
import io
import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from minicpm_core.captions.ranking import ranked
from minicpm_core.cli.ask import writer
from minicpm_core.cli.catalogue import Catalogue
from minicpm_core.cli.local import or_emulated
from minicpm_core.cli.screen import HEADING, NOTICE, THOUGHT, bar, safe, say
from minicpm_core.cli.show import NoWriter, PlainWriter, show
from minicpm_core.cli.thumbnail import thumbnail
from minicpm_core.client import MiniCPMClient
from minicpm_core.errors import APIError, InvalidInputError, MiniCPMError
from minicpm_core.media.count import count_prompt
from minicpm_core.media.fit import FITTED_TYPES, fitted_within
from minicpm_core.media.images import load_image
from minicpm_core.models import card_for
from minicpm_core.parts import TextPart
from minicpm_core.types import Message

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from minicpm_core.cli.catalogue import Entry
    from minicpm_core.cli.connection import Connection
    from minicpm_core.cli.screen import Screen
    from minicpm_core.parts import ImagePart

_NOTHING = "No caption has a word of the question. Ask in other words, or in the language of the captions."
_EMULATED = "The captions are the emulator's, which is no model: run minicpm index again with a key or a server set."
_INTRODUCTION = (
    "Answer the question from the pictures below. Name the picture that you took it from. "
    "If they do not show it, say so."
)
_USUAL_WINDOW = 32_768
_ANSWER = 2048
"""Tokens that are left for an answer of no given length, thoughts included, but no more than half of the window."""
_THUMBNAIL = 22
_LINES = 240


@dataclass(frozen=True, slots=True)
class Hit:
    """A picture whose caption fits.

    Attributes:
        entry: What is known of it.
        score: By BM25; only good for comparing.
    """

    entry: Entry
    score: float


def search(
    question: str,
    folder: Path,
    home: Path | None,
    connection: Connection,
    *,
    emulator: bool,
    hits: int,
    pictures: int,
    only_list: bool,
    max_tokens: int | None,
    as_json: bool,
    screen: Screen,
) -> None:
    """Show what fits, then ask the model with the best pictures.

    Args:
        question: What is looked for, and asked.
        folder: What was indexed.
        home: Where the catalogue is, if not in the folder.
        connection: Which server.
        emulator: Use the emulator, whatever is set.
        hits: The most that are shown.
        pictures: How many of them the model is shown.
        only_list: Do not ask.
        max_tokens: The most tokens of the answer.
        as_json: Write one line of JSON at the end instead.
        screen: Where to write.

    Raises:
        MiniCPMError: There is no catalogue, or the request failed.
    """
    if not question.strip():
        raise InvalidInputError('The question is empty: minicpm search "a red car"')
    catalogue = Catalogue.load(folder, home)
    fitting = ranked(question, [f"{entry.path} {entry.caption}" for entry in catalogue.entries])
    found = [Hit(catalogue.entries[at], score) for at, score in fitting[:hits]]
    if not as_json:
        _list(found, catalogue, screen.out if only_list else screen.err)
    if not found:
        screen.note(_NOTHING)
    answer: dict[str, Any] | None = None
    if found and not only_list:
        with ExitStack() as stack:
            connection, local = or_emulated(connection, stack, emulator=emulator, screen=screen)
            if catalogue.emulated and not local:
                say(screen.err, _EMULATED, NOTICE)
            settings = connection.settings()
            client = stack.enter_context(MiniCPMClient(**{name: value for name, value in settings.items() if value}))
            message = _message(question, _shown(found[:pictures], catalogue, screen), client, max_tokens, screen)
            answer = _ask(client, message, max_tokens, as_json=as_json, screen=screen)
    if as_json:
        rows = [_row(hit, catalogue) for hit in found]
        screen.out.out(json.dumps({"hits": rows, "answer": answer}, ensure_ascii=False), highlight=False)


def _row(hit: Hit, catalogue: Catalogue) -> dict[str, Any]:
    return {
        "path": str(catalogue.folder / hit.entry.path),
        "page": hit.entry.page,
        "score": round(hit.score, 3),
        "caption": hit.entry.caption,
    }


def _shown(found: list[Hit], catalogue: Catalogue, screen: Screen) -> dict[str, ImagePart]:
    """The pictures by their names. One that is gone since is passed over, and that is said."""
    pictures: dict[str, ImagePart] = {}
    for hit in found:
        try:
            source = catalogue.page(hit.entry).read().source()
            (pictures[safe(hit.entry.label)],) = load_image(source, accept=FITTED_TYPES, detail="auto")
        except MiniCPMError as error:
            screen.note(f"Not shown to the model: {error.message}")
    if not pictures:
        raise InvalidInputError("None of the pictures that fit is there any more: run minicpm index again.")
    return pictures


def _message(
    question: str, pictures: dict[str, ImagePart], client: MiniCPMClient, max_tokens: int | None, screen: Screen
) -> Message:
    """The pictures with their names, and the question: as many as fit, made smaller where need be, the best first."""
    model = client.config.model
    window = _window(client, model)
    texts = [TextPart(text) for text in (_INTRODUCTION, *(f"[{name}]" for name in pictures), question)]
    words = count_prompt([Message("user", tuple(texts))], model)
    room = window - words - (min(_ANSWER, window // 2) if max_tokens is None else max_tokens)
    fitting = fitted_within(list(pictures.values()), max(room, 0), model)
    parts: list[TextPart | ImagePart] = [TextPart(_INTRODUCTION)]
    for name, part in zip(pictures, fitting, strict=True):
        if part is None:
            screen.note(f"Not shown to the model, whose {window:,} tokens have no room for it: {name}")
        else:
            parts += [TextPart(f"[{name}]"), part]
    if len(parts) == 1:
        raise InvalidInputError("No picture fits beside the question and the answer: ask less, or lower --max-tokens.")
    return Message("user", (*parts, TextPart(question)))


def _window(client: MiniCPMClient, model: str) -> int:
    """Tokens that fit: as the server says, else what is usual, or less where the model was made for less."""
    told = None
    if not client.backend().resolves_aliases:
        with contextlib.suppress(APIError):  # it need not tell; what is wrong with it, the request itself will say
            told = next((row.context_window for row in client.list_models() if row.id == model), None)
    return told or min(_USUAL_WINDOW, card_for(model).context_window or _USUAL_WINDOW)


def _ask(
    client: MiniCPMClient, message: Message, max_tokens: int | None, *, as_json: bool, screen: Screen
) -> dict[str, Any]:
    options: Any = {} if max_tokens is None else {"max_tokens": max_tokens}
    if as_json:
        with client.stream([message], options) as deltas:
            return show(iter_of(deltas), thoughts=NoWriter(), answer=NoWriter(), gap=NoWriter()).as_json()
    if screen.err.is_terminal:
        screen.err.print()
    with client.stream([message], options) as deltas:
        answer = show(
            iter_of(deltas),
            thoughts=writer(screen.err, margin=bar(screen.err), style=THOUGHT),
            answer=writer(screen.out),
            gap=PlainWriter(screen.err),
        )
    if screen.err.is_terminal:
        screen.err.print()
        screen.note(answer.summary())
    return answer.as_json()


def iter_of(deltas: Any) -> Any:
    """A stream as a generator, which `show` closes."""
    yield from deltas


def _list(found: list[Hit], catalogue: Catalogue, console: Console) -> None:
    """Hits with their captions: beside thumbnails in a terminal that can, one line each in a pipe."""
    if not console.is_terminal:
        for hit in found:
            line = f"{catalogue.folder / hit.entry.path}{_page(hit)}\t{' '.join(hit.entry.caption.split())}"
            console.file.write(f"{safe(line)}\n")  # rich would make blanks of the tab
        return
    for number, hit in enumerate(found, 1):
        heading = Text(f"{number}  {safe(hit.entry.label)}", style=HEADING)
        caption = " ".join(safe(hit.entry.caption).split())
        caption = caption if len(caption) <= _LINES else f"{caption[:_LINES].rsplit(' ', 1)[0]} …"
        small = _small(hit, catalogue, console)
        console.print(heading, soft_wrap=False)
        if small is None:
            console.print(Padding(Text(caption), (0, 0, 1, 3)))
            continue
        table = Table.grid(padding=(0, 2))
        table.add_column(width=_THUMBNAIL, no_wrap=True)
        table.add_column()
        table.add_row(small, Text(caption))
        console.print(Padding(table, (0, 0, 1, 3)))


def _page(hit: Hit) -> str:
    return "" if hit.entry.page is None else f", page {hit.entry.page}"


def _small(hit: Hit, catalogue: Catalogue, console: Console) -> Text | None:
    """A thumbnail; none of a picture that is gone or cannot be read."""
    try:
        (part,) = load_image(catalogue.page(hit.entry).read().source(detail="low"), accept=FITTED_TYPES)
        small = thumbnail(io.BytesIO(binascii.a2b_base64(part.base64)), console, width=_THUMBNAIL)
    except (MiniCPMError, OSError, ValueError):
        return None
    if small is not None:
        small.right_crop(1)  # the last line's end
    return small
