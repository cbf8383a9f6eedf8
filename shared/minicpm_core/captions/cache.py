"""Captions kept on disk, so that each picture is paid for once.

    captions/3f/3f9a….json      one small JSON file for each caption, named by the hash of what it depends on

The name is a hash of the picture's bytes, the prompt, the model and the options (`CaptionPlan.key`), so that a file
that was replaced, another picture and another prompt each have their own entry, and nothing stale can come out.  A file
is written beside its place and moved there whole: threads and processes may share a folder, and one that is killed
leaves no half an entry.  What is in it is the caption and where it comes from: no key, no header, no picture.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from minicpm_core.captions.prompts import PROMPT_VERSION, Caption
from minicpm_core.errors import ConfigurationError, InvalidInputError
from minicpm_core.protocol.request import MiniCPMWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEY = re.compile(r"[0-9a-f]{64}")


class CaptionCacheWarning(MiniCPMWarning):
    """An entry of the cache is broken. It counts as missing, and is written anew."""


class CaptionCache:
    """Captions in a folder. Any number of threads and processes may use it at a time.

    Attributes:
        directory: The folder. It is made when the first caption is kept.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Nothing is read or made yet.

        Args:
            directory: The folder; `~` is the home folder.
        """
        self.directory = Path(directory).expanduser()

    def __repr__(self) -> str:
        """Where it is."""
        return f"CaptionCache({str(self.directory)!r})"

    def get(self, key: str) -> Caption | None:
        """The caption that was kept under a key; `None` if there is none.

        A broken entry is warned of, with a `CaptionCacheWarning`, and counts as none.

        Args:
            key: From `CaptionPlan.key`.

        Raises:
            ConfigurationError: The folder cannot be read.
        """
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"The caption cache {str(path)!r} cannot be read: {error.strerror}.") from error
        try:
            return _read(data, key)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            warnings.warn(
                f"The cached caption {str(path)!r} is broken ({type(error).__name__}); it is asked for again.",
                CaptionCacheWarning,
                stacklevel=2,
            )
            return None

    def put(self, key: str, caption: Caption, *, sha256: str, model: str) -> None:
        """Keep a caption. Of two that write the same entry, the last one stays; readers see either, whole.

        Args:
            key: From `CaptionPlan.key`.
            caption: What to keep.
            sha256: Of the picture, for people who look into the folder.
            model: Which model wrote it, likewise.

        Raises:
            ConfigurationError: The folder cannot be written to.
        """
        fields = caption.to_dict()
        entry = {
            "key": key,
            "picture": sha256,
            "model": model,
            "prompt_version": PROMPT_VERSION,
            "caption": fields,
            "check": _checksum(fields),
        }
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, json.dumps(entry, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass"))
        except OSError as error:
            raise ConfigurationError(f"The caption cache {str(path)!r} cannot be written: {error.strerror}.") from error

    def __iter__(self) -> Iterator[str]:
        """The keys, in order."""
        return iter(sorted(file.stem for file in self.directory.glob("??/*.json") if _KEY.fullmatch(file.stem)))

    def __len__(self) -> int:
        """How many captions are kept."""
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        """An empty cache is one, too."""
        return True

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise InvalidInputError("The key of a cached caption must come from CaptionPlan.key().")
        return self.directory / key[:2] / f"{key}.json"


def _read(data: bytes, key: str) -> Caption:
    entry: Any = json.loads(data.decode("utf-8", "surrogatepass"))
    fields = cast("dict[str, Any]", entry["caption"])
    if entry["key"] != key or entry["check"] != _checksum(fields):
        raise ValueError("not the entry that was written")
    return Caption.from_dict(fields)


def _checksum(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _write(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
