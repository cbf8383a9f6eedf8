"""A driver of a captioning job that is killed once some rows are done: run by test_ray.py."""

from __future__ import annotations

import os
import signal
import sys

import ray

from minicpm_core.captions.ray import caption_dataset


def main(address: str, photos: str, output: str, dies_after: str) -> None:
    """Caption, and die."""
    ray.init(address=address, log_to_driver=False)

    def die(rows: int) -> None:
        if rows >= int(dies_after):
            os.kill(os.getpid(), signal.SIGKILL)

    caption_dataset(photos, output=output, concurrency=4, batch_size=10, progress=die)


if __name__ == "__main__":
    main(*sys.argv[1:])
