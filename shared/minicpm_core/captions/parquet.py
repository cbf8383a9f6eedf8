"""The Parquet files that a batch job writes, one for each batch of rows, and which rows are in them already.

    captions/_job.json                   what was asked of which model, so that another job does not mix its rows in
    captions/part-5e0c….parquet          named by the hash of the ids of its rows

A file is written beside its place and moved there whole, so that a job that is killed leaves no half a file; and a
batch that is done twice writes the same file twice, so that its rows are there once.  Folders elsewhere (`s3://…`,
`gs://…`) are written through pyarrow, where an object appears when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicpm_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ERROR_COLUMN = "error_type"
"""Null in the rows that are well."""
_JOB = "_job.json"


def require_pyarrow() -> Any:
    """The module pyarrow, with what is used of it.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        import pyarrow as pa  # pyright: ignore[reportMissingImports]
        import pyarrow.compute  # pyright: ignore[reportMissingImports]
        import pyarrow.fs  # pyright: ignore[reportMissingImports]
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigurationError(
            f"Batches of captions need {error.name}: pip install 'minicpm-integrations[ray]'"
        ) from error
    return pa


class Parts:
    """A folder of Parquet files that holds each row once.

    Attributes:
        output: The folder: a path, or a URI that pyarrow knows.
        id_column: What tells the rows apart.
    """

    def __init__(self, output: str | os.PathLike[str], *, id_column: str) -> None:
        """Nothing is read or made yet."""
        pa = self._pa = require_pyarrow()
        self.output = os.fspath(output)
        self.id_column = id_column
        if "://" in self.output:
            self._files, self._root = pa.fs.FileSystem.from_uri(self.output)
        else:
            self._files, self._root = pa.fs.LocalFileSystem(), str(Path(self.output).expanduser().absolute())
        self._local = isinstance(self._files, pa.fs.LocalFileSystem)

    def open(self, job: Mapping[str, Any]) -> None:
        """Make the folder, or make sure that it is this job's.

        Args:
            job: What decides what the rows say, of types that JSON has.

        Raises:
            ConfigurationError: The folder holds rows of another job.
        """
        self._files.create_dir(self._root, recursive=True)
        place = f"{self._root}/{_JOB}"
        if not self._exists(place):
            self._write(place, json.dumps(job, ensure_ascii=False, indent=1).encode())
            return
        with self._files.open_input_stream(place) as stream:
            kept: Any = json.loads(stream.read())
        other = sorted(name for name in {*kept, *job} if kept.get(name) != job.get(name))
        if other:
            raise ConfigurationError(
                f"The folder {self.output!r} holds the rows of a job with another {' and another '.join(other)}. "
                "Take another folder, or delete this one to begin again."
            )

    def name(self, ids: Iterable[object]) -> str:
        """What the file of these rows is called.

        Args:
            ids: Of its rows, in their order.
        """
        return f"part-{hashlib.sha256(repr(list(ids)).encode('utf-8', 'surrogatepass')).hexdigest()[:40]}.parquet"

    def read(self, name: str, columns: list[str] | None = None) -> Any:
        """The rows of a file as a `pyarrow.Table`; `None` if there is no such file.

        Raises:
            ConfigurationError: It is no Parquet file, or has other columns.
        """
        place = f"{self._root}/{name}"
        if not self._exists(place):
            return None
        try:
            return self._pa.parquet.ParquetFile(place, filesystem=self._files).read(columns=columns)
        except (self._pa.ArrowInvalid, OSError) as error:
            raise ConfigurationError(
                f"The file {name} in {self.output!r} cannot be read ({type(error).__name__}). "
                "Delete it, and run the job again for its rows."
            ) from error

    def write(self, name: str, table: Any) -> None:
        """Write a file, whole.

        Args:
            name: From `name`.
            table: A `pyarrow.Table`.
        """
        sink = self._pa.BufferOutputStream()
        self._pa.parquet.write_table(table, sink, compression="zstd")
        self._write(f"{self._root}/{name}", sink.getvalue().to_pybytes())

    def settle(self, *, drop_errors: bool = False) -> Any:
        """Make sure that each row is there once.

        Args:
            drop_errors: Take out the rows that have an error, so that they are done again.

        Returns:
            The ids of the rows that are there, as a `pyarrow.Array`; `None` if there are none.

        Raises:
            ConfigurationError: A file cannot be read.
        """
        pc, found = self._pa.compute, []
        for name in self._names():
            table = self.read(name, [self.id_column, ERROR_COLUMN])
            keep = pc.is_null(table[ERROR_COLUMN]) if drop_errors else None
            if keep is not None and not pc.all(keep, min_count=0).as_py():
                self._keep(name, keep)
                table = table.filter(keep)
            found.append((name, table[self.id_column]))
        chunks = [chunk for _, column in found for chunk in column.chunks if len(chunk)]
        if not chunks:
            return None
        every = self._pa.concat_arrays([chunk.cast(chunks[0].type) for chunk in chunks])
        if pc.count_distinct(every, mode="all").as_py() == len(every):
            return every
        self._drop_repeats(found)
        return pc.unique(every)

    def _drop_repeats(self, found: list[tuple[str, Any]]) -> None:
        seen: set[object] = set()
        for name, column in found:
            first: list[bool] = []
            for each in column.to_pylist():
                first.append(each not in seen)
                seen.add(each)
            if not all(first):
                self._keep(name, self._pa.array(first))

    def _keep(self, name: str, mask: Any) -> None:
        """Keep some rows of a file."""
        table = self.read(name).filter(mask)
        if table.num_rows:
            self.write(name, table)
        else:
            self._files.delete_file(f"{self._root}/{name}")

    def _names(self) -> list[str]:
        listed = self._files.get_file_info(self._pa.fs.FileSelector(self._root))
        return sorted(file.base_name for file in listed if file.base_name.startswith("part-"))

    def _exists(self, place: str) -> bool:
        return bool(self._files.get_file_info(place).type != self._pa.fs.FileType.NotFound)

    def _write(self, place: str, data: bytes) -> None:
        if not self._local:
            with self._files.open_output_stream(place) as stream:
                stream.write(data)
            return
        target = Path(place)
        handle, beside = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # what was paid for outlives the machine's crash, too
            Path(beside).replace(target)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
