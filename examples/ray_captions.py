"""Caption a folder of pictures and PDFs on Ray, and continue where an earlier run was left.

    python examples/ray_captions.py [FOLDER [OUTPUT]]

Which server is asked is set in the environment: MINICPM_API_KEY for the hosted API, or MINICPM_BASE_URL for a server of
your own (`minicpm emulate` starts one that needs no model).  Which cluster works is Ray's to find: RAY_ADDRESS, or else
this machine.  Run it again after Ctrl-C: what is in OUTPUT is not asked for again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ray

from minicpm_core.captions.ray import caption_dataset


def main(folder: str = "", output: str = "captions") -> None:
    """Caption, and tell what was done."""
    photos = Path(folder) if folder else Path(__file__).parent / "photos"

    # Each actor keeps 16 calls under way; a row that gets no caption says why, and is tried again by the next run.
    run = caption_dataset(
        photos,
        output=output,
        actors=2,
        concurrency=16,
        max_retries=6,
        progress=lambda rows: print(f"{rows} rows", flush=True),
    )
    print(f"{run.captioned} captions, {run.failed} errors, {run.skipped} were there before")

    for row in ray.data.read_parquet(output).take(3):
        print(f"{Path(row['path']).name}: {row['caption'] or row['error']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
