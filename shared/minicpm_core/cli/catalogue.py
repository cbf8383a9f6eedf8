"""The catalogue that `minicpm index` keeps of a folder: what is in it, and what the model said of it.

    photos/.minicpm/catalogue.json        one entry for each picture and page
    photos/.minicpm/captions/             the captions, by content: what was asked once is not asked again

It is written whole or not at all.  Places in it are relative to the folder, so that both can be moved together, and an
entry that leads out of the folder is not believed: a catalogue may come from elsewhere.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from minicpm_core.captions import CaptionCache, MediaPage
from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

HIDDEN = ".minicpm"
"""The folder within the folder."""

_FILE = "catalogue.json"
_FORMAT = 1


class DamagedCatalogueError(ConfigurationError):
    """The file is not what `Catalogue.save` writes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture, or a page of a PDF.

    Attributes:
        path: Of the file, from the folder on, with `/` between its parts.
        page: Counted from 1; `None` for a picture.
        page_count: Of the document.
        size: Bytes of the file.
        changed: When the file was written last, in nanoseconds.
        sha256: Of what the model was shown.
        key: Of what was asked: another model or prompt has another.
        caption: What the model said.
    """

    path: str
    page: int | None
    page_count: int
    size: int
    changed: int
    sha256: str
    key: str
    caption: str

    @property
    def label(self) -> str:
        """How to name it to people."""
        return self.path if self.page is None else f"{self.path}, page {self.page}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What is known of a folder.

    Attributes:
        home: Where the catalogue is.
        folder: What it is of.
        emulated: The captions are the emulator's.
        entries: In the order of their paths and pages.
    """

    home: Path
    folder: Path
    emulated: bool = False
    entries: tuple[Entry, ...] = field(default=(), repr=False)

    @classmethod
    def at(cls, folder: Path, home: Path | None = None) -> Catalogue:
        """An empty one.

        Args:
            folder: What it is of.
            home: Where it is kept, if not in the folder.
        """
        return cls(home or folder / HIDDEN, folder)

    @classmethod
    def load(cls, folder: Path, home: Path | None = None) -> Catalogue:
        """The one that was saved.

        Raises:
            DamagedCatalogueError: It is damaged.
            ConfigurationError: There is none, or it cannot be read.
        """
        place = home or folder / HIDDEN
        again = f"minicpm index {folder if home is None else 'FOLDER --index ' + str(home)}"
        try:
            return _read(place, json.loads((place / _FILE).read_text("utf-8")))
        except FileNotFoundError:
            raise ConfigurationError(f"There is no index in {str(place)!r}. This makes one: {again}") from None
        except OSError as error:
            raise ConfigurationError(f"The index in {str(place)!r} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedCatalogueError(
                f"The index in {str(place)!r} is damaged. This makes it anew, and asks for nothing twice: {again}"
            ) from error

    def with_entries(self, entries: Iterable[Entry], *, emulated: bool) -> Catalogue:
        """The same with other entries."""
        return replace(self, entries=tuple(sorted(entries, key=_order)), emulated=emulated)

    @property
    def saved(self) -> bool:
        """Whether there is one."""
        return (self.home / _FILE).exists()

    def captions(self, *, emulated: bool) -> CaptionCache:
        """Where captions are kept. The emulator's are kept apart, since no model said them."""
        return CaptionCache(self.home / ("captions-of-the-emulator" if emulated else "captions"))

    def page(self, entry: Entry) -> MediaPage:
        """Where an entry's picture is."""
        return MediaPage(self.folder / entry.path, entry.page, entry.page_count)

    def save(self) -> None:
        """Write it beside its place and move it there.

        Raises:
            ConfigurationError: It cannot be written.
        """
        found = {
            "format": _FORMAT,
            "folder": Path(os.path.relpath(self.folder.resolve(), self.home.resolve())).as_posix(),
            "emulated": self.emulated,
            "entries": [asdict(entry) for entry in self.entries],
        }
        text = json.dumps(found, ensure_ascii=True, indent=1)  # names of files may hold what UTF-8 has not
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            _write(self.home / _FILE, text)
        except OSError as error:
            raise ConfigurationError(f"The index {str(self.home)!r} cannot be written: {error.strerror}.") from error


def _order(entry: Entry) -> tuple[str, int]:
    return entry.path, entry.page or 0


def _read(home: Path, found: Any) -> Catalogue:
    if found["format"] != _FORMAT:
        raise ValueError("another format")
    entries = tuple(_entry(fields) for fields in cast("list[dict[str, Any]]", found["entries"]))
    folder = Path(os.path.normpath(home.resolve() / str(found["folder"])))
    return Catalogue(home, folder, bool(found["emulated"]), entries)


def _entry(fields: dict[str, Any]) -> Entry:
    entry = Entry(**fields)
    path = PurePosixPath(entry.path)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError("an entry outside of the folder")
    if not isinstance(entry.caption, str) or not (entry.page is None or isinstance(entry.page, int)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError("an entry of other types")
    return entry


def _write(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
