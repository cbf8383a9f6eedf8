"""The pictures of one visitor, their captions, and a search over these."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import bm25s

from minicpm_core import InvalidMediaError, MiniCPMError
from minicpm_core.captions import Captioner, MediaPage, find_media

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from minicpm_core import MiniCPMClient
    from minicpm_core.captions import CaptionCache

MOST_PICTURES = 500
LARGEST_UPLOAD = 25 * 1024 * 1024
"""Bytes."""
_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture, or a page of a PDF, that can be found.

    Attributes:
        page: Where it is.
        name: What people call it.
        caption: What the model wrote of it.
    """

    page: MediaPage
    name: str
    caption: str


@dataclass(slots=True)
class Album:
    """Pictures with captions.

    Attributes:
        folder: Where uploads are kept.
        photos: In the order in which they came.
        refused: Names of those that have no caption, and why.
    """

    folder: Path
    photos: list[Photo] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    _names: dict[Path, str] = field(default_factory=dict)
    _index: bm25s.BM25 | None = None

    def keep(self, name: str, data: bytes) -> Path:
        """Write an upload into the folder, under a name that nobody else chose.

        Args:
            name: The file's name, as its browser says it: shown, and never used as a path.
            data: The file.

        Raises:
            InvalidMediaError: It is too large.
        """
        if len(data) > LARGEST_UPLOAD:
            raise InvalidMediaError(f"It is larger than {LARGEST_UPLOAD // 1024 // 1024} MB.")
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / hashlib.sha256(data).hexdigest()
        path.write_bytes(data)
        self._names[path] = Path(name.replace("\\", "/")).name
        return path

    def find(self, paths: Iterable[Path]) -> list[MediaPage]:
        """The pictures and pages in files and folders that are not in the album yet; what is none is refused."""
        known = {photo.page for photo in self.photos}
        found: list[MediaPage] = []
        for path in paths:
            try:
                found += find_media(path, unreadable=lambda file, error: self._refuse(self._name(file), error))
            except MiniCPMError as error:
                self._refuse(self._name(path), error)
        return [page for page in dict.fromkeys(found) if page not in known]

    def add(
        self,
        pages: list[MediaPage],
        *,
        client: MiniCPMClient,
        cache: CaptionCache,
        progress: Callable[[int, str], None],
    ) -> None:
        """Caption pictures, and make them findable.

        Args:
            pages: From `find`.
            client: What asks.
            cache: Where captions are kept.
            progress: Called with how many are done, and the name of the last one.

        Raises:
            MiniCPMError: What every picture would meet: a wrong key, an unknown model, no credit left.
        """
        room = MOST_PICTURES - len(self.photos)
        if len(pages) > room:
            told = f"The album is full: it takes {MOST_PICTURES} pictures, and {len(pages) - room} were left out."
            self.refused["More pictures"] = told
        captioner = Captioner(client, cache=cache, on_error="skip")
        try:
            for done, found in enumerate(captioner.captions(pages[:room]), 1):
                page = found.source
                name = self.label(page)
                if found.caption is None:
                    self._refuse(name, found.error)
                else:
                    self.photos.append(Photo(page, name, found.caption.to_text()))
                progress(done, name)
        finally:
            self._reindex()

    def search(self, question: str, *, most: int) -> list[Photo]:
        """The pictures whose captions or names have words of the question, the best first.

        Args:
            question: Any text.
            most: How many to give.
        """
        if self._index is None:
            return []
        words = bm25s.tokenize([_spaced(question)], stopwords="en", show_progress=False, return_ids=False)
        known = [word for word in words[0] if word in self._index.vocab_dict]
        if not known:
            return []
        k = min(most, len(self.photos))
        found, scores = self._index.retrieve([known], k=k, show_progress=False)
        return [self.photos[int(n)] for n, score in zip(found[0], scores[0], strict=True) if score > 0]

    def label(self, page: MediaPage) -> str:
        """What people call a picture or a page."""
        name = self._name(page.path)
        return name if page.page is None else f"{name}, page {page.page}"

    def _name(self, path: Path) -> str:
        return self._names.get(path, path.name)

    def _refuse(self, name: str, error: MiniCPMError | None) -> None:
        self.refused[name] = str(error)

    def _reindex(self) -> None:
        if self.photos:
            texts = [_spaced(f"{photo.name} {photo.caption}") for photo in self.photos]
            self._index = bm25s.BM25()
            self._index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)


def _spaced(text: str) -> str:
    """Words alone, so that `IMG_cat.jpg` has the word `cat`."""
    return " ".join(_WORDS.findall(text))
