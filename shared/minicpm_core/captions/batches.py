"""The actor that captions a batch job's rows: a client, a captioner and a gate that lives as long as its process."""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicpm_core.aio import AsyncMiniCPMClient
from minicpm_core.captions.cache import CaptionCache
from minicpm_core.captions.captioner import AsyncCaptioner
from minicpm_core.captions.parquet import ERROR_COLUMN, Parts, require_pyarrow
from minicpm_core.captions.plan import FATAL
from minicpm_core.captions.sources import MediaPage
from minicpm_core.errors import APIError, ConfigurationError, InvalidInputError
from minicpm_core.secret import Secret, redact

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from minicpm_core.captions.plan import Captionable
    from minicpm_core.captions.prompts import Caption
    from minicpm_core.config import ChatOptions, ClientConfig

_FIELDS = ("summary", "visible_text", "tables", "entities")
"""Columns of structured captions."""
_LONGEST_ERROR = 2000


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a job must not show: it lies in Ray's object store, and a plan holds the reference alone.

    Attributes:
        api_key: The key; `None` for that of the worker's environment.
        default_headers: Sent with each request.
        options: What each request asks for, headers of its own among it.
    """

    api_key: str | None = field(default=None, repr=False)
    default_headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionJob:
    """What is asked for each row, and where. It may be shown: what may not is `Sealed`.

    Attributes:
        config: Settings of the client, without key, headers and options.
        base_urls: Servers of the same model, which take turns.
        image_column: The column with a path, the bytes of a file, or a struct of `bytes` and `path`.
        page_column: The column with the page of a PDF; where there is none, or a null, a file is a picture.
        concurrency: Calls at a time, of each actor.
        prompt: The words beside each picture; `None` for those of this library.
        structured: Ask for summary, visible text, tables and entities instead of prose.
        cache: A folder for a `CaptionCache` that all workers see; `None` for none.
    """

    config: ClientConfig
    base_urls: tuple[str, ...]
    image_column: str = "path"
    page_column: str = "page"
    concurrency: int = 32
    prompt: str | None = None
    structured: bool = False
    cache: str | None = None

    def captioner(self, base_url: str, sealed: Sealed) -> AsyncCaptioner:
        """A captioner for one of the servers."""
        config = replace(
            self.config,
            base_url=base_url,
            api_key=Secret(sealed.api_key) if sealed.api_key else None,
            default_headers=dict(sealed.default_headers),
        ).with_key_from_environment()
        options: ChatOptions = {**sealed.options}  # type: ignore[typeddict-item]
        return AsyncCaptioner(
            AsyncMiniCPMClient(config),
            cache=CaptionCache(self.cache) if self.cache else None,
            prompt=self.prompt,
            structured=self.structured,
            options=options,
            on_error="skip",
            concurrency=self.concurrency,
        )


class CaptionBatches:
    """Captions the rows of batches; one object serves any number of batches at a time, of one event loop.

    Made by `caption_batches` for `Dataset.map_batches`, which makes one in each actor.  A batch is a `pyarrow.Table`,
    and comes back with the columns `caption`, `error_type` and `error`; of a row, either the first is null or the other
    two are.  Structured captions have the columns `summary`, `visible_text`, `tables` and `entities`, too.

    What every row would meet (a wrong key, an unknown model, no credit left) is raised instead, and ends the job.
    """

    def __init__(self, job: CaptionJob, sealed: Any) -> None:
        """Nothing is sent yet.

        Args:
            job: What to ask.
            sealed: A `Sealed`, or the reference to one in Ray's object store.

        Raises:
            ConfigurationError: A setting cannot be, or an extra is not installed.
        """
        self._pa = require_pyarrow()
        self._job = job
        opened = sealed if isinstance(sealed, Sealed) else _opened(sealed)
        self._captioners = [job.captioner(base_url, opened) for base_url in job.base_urls]
        # Each actor begins with another server, lest all of them begin with the same.
        self._turn = itertools.count(random.randrange(len(self._captioners)))  # noqa: S311 - no secret
        self._gate = asyncio.Semaphore(job.concurrency)

    def __repr__(self) -> str:
        """What it asks: never the key."""
        return f"CaptionBatches({self._job.config.model!r}, {list(self._job.base_urls)!r})"

    async def __call__(self, batch: Any) -> AsyncGenerator[Any]:
        """A batch with its captions."""
        yield await self.caption(batch)

    async def caption(self, batch: Any) -> Any:
        """The rows of a batch with their captions.

        Args:
            batch: A `pyarrow.Table`.

        Raises:
            APIError: What every row would meet.
            ConfigurationError: The column of pictures is missing, or a setting cannot be.
        """
        job = self._job
        if job.image_column not in batch.column_names:
            raise ConfigurationError(
                f"There is no column {job.image_column!r}: name the one with paths or bytes as image_column."
            )
        images = batch[job.image_column].to_pylist()
        pages = batch[job.page_column].to_pylist() if job.page_column in batch.column_names else [None] * len(images)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._row(*row)) for row in zip(images, pages, strict=True)]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # the others are of the same kind
        return self._with_columns(batch, [task.result() for task in tasks])

    async def _row(self, image: object, page: int | None) -> Caption | Exception:
        """What becomes of a row. Another server is tried where one cannot answer."""
        async with self._gate:
            error: Exception | None = None
            first = next(self._turn)
            for turn in range(len(self._captioners)):
                captioner = self._captioners[(first + turn) % len(self._captioners)]
                try:
                    found = await captioner.caption(_source(image, page))
                except FATAL:
                    raise
                except Exception as unforeseen:  # noqa: BLE001 - one row of a million must not end the job; it is told in its column
                    return unforeseen
                if found.caption is not None:
                    return found.caption
                error = found.error
                if not (isinstance(error, APIError) and error.retryable):
                    break
            assert error is not None  # noqa: S101 - a captioner gives a caption or says why not
            return error

    def _with_columns(self, batch: Any, rows: list[Caption | Exception]) -> Any:
        pa = self._pa
        failed = [row if isinstance(row, Exception) else None for row in rows]
        captions = [None if isinstance(row, Exception) else row for row in rows]
        text, texts = pa.string(), pa.list_(pa.string())
        columns: dict[str, tuple[Any, list[Any]]] = {"caption": (text, [row and row.to_text() for row in captions])}
        if self._job.structured:
            for name in _FIELDS:
                kind = texts if name in {"tables", "entities"} else text
                columns[name] = (kind, [None if row is None else row.to_dict()[name] for row in captions])
        columns[ERROR_COLUMN] = (text, [error and type(error).__name__ for error in failed])
        columns["error"] = (text, [error and self._told(error) for error in failed])
        for name, (kind, values) in columns.items():
            if name in batch.column_names:
                batch = batch.drop_columns([name])
            batch = batch.append_column(name, pa.array(values, kind))
        return batch

    def _told(self, error: Exception) -> str:
        secrets = self._captioners[0].client.config.secrets
        return redact(str(error), secrets)[:_LONGEST_ERROR].encode("utf-8", "replace").decode()


class WrittenBatches(CaptionBatches):
    """`CaptionBatches` that writes each batch as a Parquet file of its own, and gives only what became of it.

    The batch is written where it was paid for: what an actor or a driver that dies takes with it is what was under way.
    """

    def __init__(self, job: CaptionJob, sealed: Any, *, output: str, id_column: str, keep_image: bool | None) -> None:
        """As `CaptionBatches`.

        Args:
            job: What to ask.
            sealed: A `Sealed`, or the reference to one in Ray's object store.
            output: The folder.
            id_column: What tells the rows apart.
            keep_image: Write the column of pictures, too; `None` writes it if it holds paths.
        """
        super().__init__(job, sealed)
        self._parts = Parts(output, id_column=id_column)
        self._keep_image = keep_image

    async def __call__(self, batch: Any) -> AsyncGenerator[Any]:
        """Write a batch, unless it is there; give how many rows it has, and how many of them have an error.

        What ends the job comes as a value, in the column `ended`: an exception would reach the driver as Ray's own.
        """
        try:
            rows, failed = await self._write(batch)
        except FATAL as error:
            yield {"rows": [0], "failed": [0], "ended": [pickle.dumps(error)]}
        else:
            yield {"rows": [rows], "failed": [failed], "ended": [b""]}

    async def _write(self, batch: Any) -> tuple[int, int]:
        name = self._parts.name(_ids(batch, self._parts.id_column))
        table = await asyncio.to_thread(self._parts.read, name, [ERROR_COLUMN])
        if table is None:  # else an actor died after it wrote this, and the batch was given out again
            table = await self.caption(batch)
            await asyncio.to_thread(self._parts.write, name, self._kept(table))
        return len(table), len(table) - table[ERROR_COLUMN].null_count

    def _kept(self, table: Any) -> Any:
        column, types = self._job.image_column, self._pa.types
        kind = table.schema.field(column).type
        keep = (
            self._keep_image if self._keep_image is not None else types.is_string(kind) or types.is_large_string(kind)
        )
        return table if keep else table.drop_columns([column])


def _ids(batch: Any, column: str) -> list[object]:
    if column not in batch.column_names:
        raise ConfigurationError(f"There is no column {column!r}: name the one that tells the rows apart as id_column.")
    if batch[column].null_count:
        raise ConfigurationError(f"The column {column!r} has nulls: each row needs an id of its own.")
    ids: list[object] = batch[column].to_pylist()
    return ids


def _source(image: object, page: int | None) -> Captionable:
    """What to caption. A struct of `bytes` and `path` is how Hugging Face's data sets hold pictures."""
    if isinstance(image, dict):
        image = image.get("bytes") or image.get("path")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(image, bytes) and image:
        return image
    if isinstance(image, str | os.PathLike) and os.fspath(image):  # pyright: ignore[reportUnknownArgumentType]
        return MediaPage(Path(image), page)  # pyright: ignore[reportUnknownArgumentType]
    raise InvalidInputError("The row has no picture: neither a path nor the bytes of a file.")


def _opened(reference: Any) -> Sealed:
    import ray  # pyright: ignore[reportMissingImports]

    sealed: Sealed = ray.get(reference)
    return sealed
