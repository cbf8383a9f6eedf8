"""`minicpm index`: every picture and page of a folder described once, so that `minicpm search` finds it."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from minicpm_core.captions import Captioner, MediaPage, find_media
from minicpm_core.cli.catalogue import Catalogue, DamagedCatalogueError, Entry
from minicpm_core.cli.failures import FAILED, terminable
from minicpm_core.cli.local import or_emulated
from minicpm_core.cli.screen import QUIET, safe, say
from minicpm_core.client import MiniCPMClient
from minicpm_core.errors import InvalidInputError, TruncatedReplyError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator
    from pathlib import Path

    from rich.console import Console

    from minicpm_core.captions import Captioned
    from minicpm_core.cli.connection import Connection
    from minicpm_core.cli.screen import Screen
    from minicpm_core.config import ChatOptions
    from minicpm_core.errors import MiniCPMError

_SHOWN = 10
_NAME = 34


@dataclass(slots=True)
class _Run:
    """What a run has come to.

    Attributes:
        kept: Entries by path and page: first those that still hold, then those that were asked for.
        todo: What is to be described, with the state of its file.
        removed: Entries whose file is gone or has changed and has no caption yet.
        asked: Described by the model.
        known: Taken from the captions that were kept.
        failed: What got no caption.
    """

    kept: dict[tuple[str, int | None], Entry] = field(default_factory=dict[tuple[str, int | None], Entry])
    todo: dict[MediaPage, os.stat_result] = field(default_factory=dict["MediaPage", "os.stat_result"])
    removed: int = 0
    asked: int = 0
    known: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def index(
    folder: Path,
    home: Path | None,
    connection: Connection,
    *,
    emulator: bool,
    jobs: int,
    max_tokens: int | None,
    screen: Screen,
) -> None:
    """Describe what is new or has changed, drop what is gone, and save the catalogue.

    Args:
        folder: What is looked through, with the folders in it.
        home: Where the catalogue is kept, if not in the folder.
        connection: Which server.
        emulator: Use the emulator, whatever is set.
        jobs: Calls at a time.
        max_tokens: The most tokens of a description.
        screen: Where to write.

    Raises:
        MiniCPMError: Nothing can be described: a wrong key, an unknown model, no server.
        typer.Exit: Some pictures got no caption; all others are in the catalogue.
    """
    run = _Run()
    pages = find_media(folder, unreadable=lambda path, error: run.failed.append((str(path), error.message)))
    if not pages and not run.failed:
        raise InvalidInputError(f"There is no picture and no PDF in {str(folder)!r}.")
    with ExitStack() as stack:
        connection, emulated = or_emulated(connection, stack, emulator=emulator, screen=screen)
        settings = connection.settings()
        client = stack.enter_context(MiniCPMClient(**{name: value for name, value in settings.items() if value}))
        catalogue = _before(folder, home, screen)
        cache = catalogue.captions(emulated=emulated)
        options: ChatOptions = {} if max_tokens is None else {"max_tokens": max_tokens}
        captioner = Captioner(client, cache=cache, options=options, on_error="skip", concurrency=jobs)
        _sort(run, catalogue, pages, captioner, emulated=emulated)
        try:
            with terminable():
                _describe(run, catalogue, captioner, screen)
        except KeyboardInterrupt:
            screen.note("What was described until now is kept: the same command goes on from here.")
            raise
        finally:  # after Ctrl-C, SIGTERM and a wrong key, too: what was described until then counts
            catalogue = catalogue.with_entries(run.kept.values(), emulated=emulated)
            catalogue.save()
    _tell(run, catalogue, screen)
    if run.failed:
        raise typer.Exit(FAILED)


def _before(folder: Path, home: Path | None, screen: Screen) -> Catalogue:
    """What an earlier run left; nothing where that cannot be used."""
    empty = Catalogue.at(folder, home)
    if not empty.saved:
        return empty
    try:
        found = Catalogue.load(folder, home)
    except DamagedCatalogueError:
        screen.note(f"The index in {str(empty.home)!r} is damaged, and is made anew. Nothing is asked for twice.")
        return empty
    if found.folder.resolve() != folder.resolve():
        raise InvalidInputError(
            f"The index in {str(empty.home)!r} is of the folder {str(found.folder)!r}. Name another place with --index."
        )
    return Catalogue(found.home, folder, found.emulated, found.entries)


def _sort(run: _Run, catalogue: Catalogue, pages: list[MediaPage], captioner: Captioner, *, emulated: bool) -> None:
    """Which entries still hold, and what is to be described."""
    known = {(entry.path, entry.page): entry for entry in catalogue.entries} if emulated == catalogue.emulated else {}
    for page in pages:
        name = (page.path.relative_to(catalogue.folder).as_posix(), page.page)
        entry = known.get(name)
        try:
            state = page.path.stat()
        except OSError as error:  # gone, or out of reach, since the folder was looked through
            run.failed.append((page.label, f"The file cannot be read: {error.strerror}."))
            continue
        if (
            entry is not None
            and (entry.size, entry.changed, entry.page_count) == (state.st_size, state.st_mtime_ns, page.page_count)
            and entry.key == captioner.plan.key(entry.sha256)
        ):
            run.kept[name] = entry
        else:
            run.todo[page] = state
    there = {(page.path.relative_to(catalogue.folder).as_posix(), page.page) for page in pages}
    run.removed = sum((entry.path, entry.page) not in there for entry in catalogue.entries)


def _describe(run: _Run, catalogue: Catalogue, captioner: Captioner, screen: Screen) -> None:
    """Ask for what is to be described, with a bar for those who watch."""
    watched = screen.err.is_terminal and bool(run.todo)
    with (
        _bar(screen.err, len(run.todo)) if watched else nullcontext(_unseen) as advance,
        closing(captioner.captions(run.todo)) as results,
    ):
        for (page, state), found in zip(run.todo.items(), results, strict=True):
            if found.caption is None or found.sha256 is None:
                run.failed.append((page.label, _reason(found.error)))
            else:
                run.asked += not found.cached
                run.known += found.cached
                entry = _entry(catalogue, page, found, key=captioner.plan.key(found.sha256), state=state)
                run.kept[entry.path, entry.page] = entry
            advance(_name(page, catalogue))


def _entry(catalogue: Catalogue, page: MediaPage, found: Captioned, *, key: str, state: os.stat_result) -> Entry:
    return Entry(
        path=page.path.relative_to(catalogue.folder).as_posix(),
        page=page.page,
        page_count=page.page_count,
        size=state.st_size,
        changed=state.st_mtime_ns,
        sha256=found.sha256 or "",
        key=key,
        caption=found.caption.to_text() if found.caption else "",
    )


def _reason(error: MiniCPMError | None) -> str:
    if error is None:
        return "no caption"
    cut = isinstance(error, TruncatedReplyError)
    return "The description was cut off at the limit of tokens: raise --max-tokens." if cut else error.message


def _name(page: MediaPage, catalogue: Catalogue) -> str:
    """A name that fits beside a bar: its end tells more than its beginning."""
    label = safe(page.label.removeprefix(f"{catalogue.folder}/"))
    return label if len(label) <= _NAME else f"…{label[1 - _NAME :]}"


def _unseen(_: str) -> None:
    """For pipes: nothing moves there."""


@contextmanager
def _bar(console: Console, total: int) -> Generator[Callable[[str], None]]:
    """Gives a function to call after each picture."""
    columns = (
        BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(compact=True),
        TextColumn("{task.description}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda name: progress.update(task, advance=1, description=name)


def _tell(run: _Run, catalogue: Catalogue, screen: Screen) -> None:
    """What came of it: in words for people, the number for a pipe."""
    untouched = len(run.kept) - run.asked - run.known
    counts = (
        (run.asked, "described"), (run.known, "known from before"), (untouched, "unchanged"),
        (run.removed, "gone"), (len(run.failed), "without a caption"),
    )  # fmt: skip
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    say(screen.out, f"{len(run.kept):,} pictures and pages in {catalogue.home}: {told or 'nothing'}.")
    for label, reason in run.failed[:_SHOWN]:
        say(screen.err, f"{label}: {reason}", "red" if screen.err.is_terminal else "")
    if len(run.failed) > _SHOWN:
        screen.note(f"… and {len(run.failed) - _SHOWN} more.")
    if screen.out.is_terminal and run.kept:
        say(screen.out, f'Now ask: minicpm search "…" {catalogue.folder}', QUIET)
