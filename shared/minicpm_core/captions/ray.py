"""Captions by the million on Ray Data: pictures in, Parquet out, to be continued where it was left.

    run = caption_dataset("photos", output="captions", actors=8)
    ray.data.read_parquet("captions")              id, path, page, caption, error_type, error

Each actor holds a client and keeps `concurrency` calls under way; Ray hands it batches as fast as it takes them, and
gives a batch of an actor that died to another.  Each batch is a Parquet file, written by the actor that paid for it, so
that a job that was killed is continued by calling it again.  A row that gets no caption says why in its own columns.

The API key is neither in the plan that Ray sends around nor in its logs: it lies in the object store, and each actor
takes it from there.  Where the driver has none, a worker looks into its own environment.
"""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicpm_core.captions.parquet import Parts, require_pyarrow
from minicpm_core.captions.sources import find_media
from minicpm_core.captions.work import checked_workers
from minicpm_core.config import ClientConfig
from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from minicpm_core.captions.batches import CaptionJob, Sealed
    from minicpm_core.captions.sources import MediaPaths
    from minicpm_core.config import ChatOptions

__all__ = ["CaptionRun", "caption_batches", "caption_dataset"]

_ACTORS = 2
_BATCH_SIZE = 256
_BLOCKS_PER_ACTOR = 4
_CALLS_PER_ACTOR = 2
"""The next block begins while the slowest calls of the last one end."""


@dataclass(frozen=True, slots=True)
class CaptionRun:
    """What a run did.

    Attributes:
        output: Where the rows are.
        skipped: Rows that were there before, and were not asked for again.
        captioned: Rows that got a caption.
        failed: Rows that got an error. The next run tries them again.
    """

    output: str
    skipped: int
    captioned: int
    failed: int


def caption_batches(
    *,
    base_url: str | Sequence[str] | None = None,
    api_key: Any = None,
    image_column: str = "path",
    page_column: str = "page",
    prompt: str | None = None,
    structured: bool = False,
    options: ChatOptions | None = None,
    cache: str | os.PathLike[str] | None = None,
    concurrency: int = 32,
    actors: int = _ACTORS,
    batch_size: int = _BATCH_SIZE,
    cpus_per_actor: float = 0.5,
    **settings: Any,
) -> dict[str, Any]:
    """The arguments of `Dataset.map_batches` that caption a data set, for what `caption_dataset` does not do.

    `dataset.map_batches(**caption_batches(image_column="bytes", actors=8)).write_parquet("captions")`

    Args:
        base_url: A server, or several of the same model: each call goes to the next of them, and to another one where
            that cannot answer. Else `MINICPM_BASE_URL`, else the vendor's hosted API.
        api_key: Else the environment's, of the driver or of the workers. It travels in the object store only.
        image_column: The column with a path that the workers can read, the bytes of a file, or a struct of `bytes` and
            `path`.
        page_column: The column with the page of a PDF, counted from 1; rows without one are pictures.
        prompt: The words beside each picture; `None` for those of this library.
        structured: Ask for summary, visible text, tables and entities instead of prose.
        options: What each request asks for, such as `max_tokens`.
        cache: A folder that all workers see, for captions by the content of their picture: what is there twice is then
            paid for once, also over several jobs. `None` for none.
        concurrency: Calls at a time, of each actor.
        actors: Processes that ask.
        batch_size: Rows of a batch.
        cpus_per_actor: What Ray reserves for each. It is a measure for Ray, and bounds nothing.
        **settings: Those of `ClientConfig.create`, such as `model`, `max_retries` and `image_detail`.

    Raises:
        ConfigurationError: A setting cannot be, or the extra `[ray]` is not installed.
    """
    ray = _ray()
    from minicpm_core.captions.batches import CaptionBatches

    for number in (actors, batch_size):
        checked_workers(number)
    job, sealed = _job(
        base_url=base_url,
        api_key=api_key,
        image_column=image_column,
        page_column=page_column,
        prompt=prompt,
        structured=structured,
        options=options,
        cache=cache,
        concurrency=concurrency,
        settings=settings,
    )
    return {
        "fn": CaptionBatches,
        "fn_constructor_kwargs": {"job": job, "sealed": ray.put(sealed)},
        "batch_size": batch_size,
        "batch_format": "pyarrow",
        "zero_copy_batch": True,
        "compute": ray.data.ActorPoolStrategy(size=actors, max_concurrent_calls_per_actor=_CALLS_PER_ACTOR),
        "num_cpus": cpus_per_actor,
    }


def caption_dataset(
    source: Any,
    *,
    output: str | os.PathLike[str],
    id_column: str = "id",
    keep_image: bool | None = None,
    retry_errors: bool = True,
    progress: Callable[[int], None] | None = None,
    **asked: Any,
) -> CaptionRun:
    """Caption a data set into a folder of Parquet files. Called again, it does what is missing there.

    A folder or paths are looked through on the driver, and give the columns `id` (the path, with `#page=` for the page
    of a PDF), `path` and `page`; the workers must see the same files.  For more than some hundred thousand pictures, or
    pictures elsewhere, make the data set with Ray (`ray.data.read_parquet`, `read_binary_files`, `read_images` does
    not keep files) and name its columns.

    Args:
        source: A `ray.data.Dataset`, or what `find_media` takes: a folder, a file, a pattern, or several.
        output: A folder that driver and workers see, or a URI that pyarrow knows, such as `s3://bucket/captions`.
        id_column: What tells the rows apart: no null, none twice. A row whose id is there is done.
        keep_image: Write the column of pictures, too; `None` writes it if it holds paths.
        retry_errors: Do rows again that had an error in an earlier run.
        progress: Called with how many rows are done, after each batch.
        **asked: Those of `caption_batches`.

    Raises:
        InvalidMediaError: A path does not exist, or is no picture or PDF.
        ConfigurationError: A setting cannot be, the folder holds another job's rows, or the extra `[ray]` is missing.
        APIError: What every row would meet: a wrong key, an unknown model, no credit left.
    """
    ray = _ray()
    dataset = source if hasattr(source, "map_batches") else _found(source, asked)
    arguments = caption_batches(**asked)
    job: CaptionJob = arguments["fn_constructor_kwargs"]["job"]
    parts = Parts(output, id_column=id_column)
    plan = job.captioner(job.base_urls[0], ray.get(arguments["fn_constructor_kwargs"]["sealed"])).plan
    parts.open({"model": plan.model, "prompt": plan.prompt, "structured": job.structured, "id_column": id_column})
    done = parts.settle(drop_errors=retry_errors)
    written = _written(arguments, output=parts.output, id_column=id_column, keep_image=keep_image)
    rows = failed = 0
    for batch in _missing(dataset, id_column, done).map_batches(**written).iter_batches(batch_size=None):
        for ended in filter(None, batch["ended"]):
            raise pickle.loads(ended)  # noqa: S301 - an actor of this job has written it
        rows += int(batch["rows"].sum())
        failed += int(batch["failed"].sum())
        if progress is not None:
            progress(rows)
    parts.settle()
    return CaptionRun(parts.output, 0 if done is None else len(done), rows - failed, failed)


def _job(
    *, base_url: Any, api_key: Any, options: Any, cache: Any, settings: Any, **asked: Any
) -> tuple[CaptionJob, Sealed]:
    from minicpm_core.captions.batches import CaptionJob, Sealed

    urls = [base_url] if base_url is None or isinstance(base_url, str) else list(base_url)
    if not urls:
        raise ConfigurationError("base_url is an empty list: name a server, or leave it out.")
    configs = [ClientConfig.create(base_url=url, api_key=api_key, **settings) for url in urls]
    config = configs[0]
    key = config.api_key.reveal() if config.api_key else None
    sealed = Sealed(key, config.default_headers, {**(options or {})})
    shown = replace(config, api_key=None, default_headers={})
    job = CaptionJob(
        config=shown,
        base_urls=tuple(each.base_url for each in configs),
        cache=None if cache is None else str(Path(cache).expanduser().absolute()),
        **asked,
    )
    job.captioner(job.base_urls[0], sealed)  # says now what cannot be
    return job, sealed


def _found(paths: MediaPaths, asked: Mapping[str, Any]) -> Any:
    """A data set of the pictures and pages at some paths, in blocks that all actors get some of."""
    columns = {asked.get("image_column", "path"), asked.get("page_column", "page")}
    if columns != {"path", "page"}:
        raise ConfigurationError(
            "image_column and page_column are for data sets: of paths, they are 'path' and 'page'."
        )
    pa = require_pyarrow()
    pages = [(str(found.path.absolute()), found.page) for found in find_media(paths)]
    table = pa.table({
        "id": pa.array([path if page is None else f"{path}#page={page}" for path, page in pages], pa.string()),
        "path": pa.array([path for path, _ in pages], pa.string()),
        "page": pa.array([page for _, page in pages], pa.int32()),
    })  # fmt: skip
    actors, batch_size = asked.get("actors", _ACTORS), asked.get("batch_size", _BATCH_SIZE)
    share = math.ceil(len(pages) / (actors * _BLOCKS_PER_ACTOR * batch_size))
    rows = max(batch_size, min(share, _BLOCKS_PER_ACTOR) * batch_size)
    return _ray().data.from_arrow([table.slice(start, rows) for start in range(0, max(1, len(pages)), rows)])


def _missing(dataset: Any, id_column: str, done: Any) -> Any:
    """The rows that are not there yet."""
    if done is None:
        return dataset
    kwargs = {"id_column": id_column, "done": _ray().put(done)}
    return dataset.map_batches(
        _without, fn_kwargs=kwargs, batch_size=None, batch_format="pyarrow", zero_copy_batch=True
    )


def _without(batch: Any, *, id_column: str, done: Any) -> Any:
    pa, ray = require_pyarrow(), _ray()
    if id_column not in batch.column_names:
        return batch  # the actors say so
    known = ray.get(done) if isinstance(done, ray.ObjectRef) else done
    ids = batch[id_column]
    return batch.filter(pa.compute.invert(pa.compute.is_in(ids, value_set=known.cast(ids.type))))


def _written(arguments: Mapping[str, Any], *, output: str, id_column: str, keep_image: bool | None) -> dict[str, Any]:
    """The arguments of `map_batches`, with an actor that writes."""
    from minicpm_core.captions.batches import WrittenBatches

    constructor = {
        **arguments["fn_constructor_kwargs"],
        "output": output,
        "id_column": id_column,
        "keep_image": keep_image,
    }
    return {**arguments, "fn": WrittenBatches, "fn_constructor_kwargs": constructor}


def _ray() -> Any:
    """Ray, with Ray Data."""
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.data  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigurationError(
            f"Captions on Ray need {error.name}: pip install 'minicpm-integrations[ray]'"
        ) from error
    return ray
