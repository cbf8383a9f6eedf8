"""Fuzz the guard of URLs. See README.md for how to run it."""
# ruff: noqa: INP001 - a script

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

try:
    import atheris  # pyright: ignore[reportMissingImports]
except ImportError:
    sys.exit("atheris is missing: pip install --target /tmp/atheris atheris, and put that on PYTHONPATH.")

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tables of the tests

import httpx

with atheris.instrument_imports(include=["minicpm_core.media", "idna", "ipaddress"]):
    from minicpm_core.errors import MiniCPMError
    from minicpm_core.media.guard import check_hosts, check_redirect, check_url, is_forbidden

from tests.core.media.urls import MALFORMED, OF_ANOTHER_KIND, PRIVATE, PUBLIC, WITH_CREDENTIALS

PORTS = {"http": 80, "https": 443}


class BrokenPromiseError(Exception):
    """Something passed that should not have."""


def check(*, holds: bool, promise: str) -> None:
    """End the run if a promise does not hold."""
    if not holds:
        raise BrokenPromiseError(promise)


def one_url(text: str) -> None:
    """What passes is public, and is the same for everybody who reads it."""
    target = check_url(text)
    check(holds=check_url(target.url) == target, promise="it passes again, unchanged")
    check(holds=target.url.isascii() and target.origin + target.path == target.url, promise="its parts fit together")
    check(holds=not target.allowed, promise="nothing is allowed that was not named")
    check(holds=not (target.is_address and is_forbidden(target.host)), promise="it is public")
    by_httpx, by_python = httpx.URL(target.url), urlsplit(target.url)
    check(holds=by_httpx.raw_host.decode() == by_python.hostname == target.host, promise="one host for all")
    port = PORTS[target.scheme]
    check(holds=(by_httpx.port or port) == (by_python.port or port) == target.port, promise="one port for all")


def one_input(data: bytes) -> None:
    """Run all that takes text from outside."""
    text = data.decode("utf-8", errors="surrogateescape")
    for run in (
        lambda: one_url(text),
        lambda: one_url(f"http://{text}"),
        lambda: check_redirect(check_url("https://example.com/a/b"), text),
        lambda: check_hosts(frozenset({text})),
        lambda: check_url("http://example.com/", frozenset({text})),
    ):
        with contextlib.suppress(MiniCPMError):
            run()


def main() -> None:
    """Write the first corpus, and run."""
    with tempfile.TemporaryDirectory() as folder:
        seeds = [*MALFORMED, *OF_ANOTHER_KIND, *WITH_CREDENTIALS, *PRIVATE, *(url for url, *_ in PUBLIC)]
        for number, url in enumerate(seeds):
            (Path(folder) / str(number)).write_bytes(url.encode("utf-8", errors="surrogatepass"))
        given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        atheris.Setup([*sys.argv, *([] if given else [folder])], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
