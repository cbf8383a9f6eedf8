"""Make a virtual environment that holds exactly what a lock file lists, and this package in editable form.

Usage: `python requirements/install.py .venv requirements/dev.lock`

It does nothing where the environment is up to date: a file in the environment says what it was made of, and is written
last, so an install that was interrupted is begun again.  Two runs at once do not meet: the second waits for the first.
Standard library only, since it runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).resolve().parent.parent
PROJECT_FILES = ("pyproject.toml", "shared/minicpm_core/_version.py")


def digest(*parts: bytes) -> str:
    """One hash of several texts, in which the borders count."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


@contextlib.contextmanager
def only_one(target: Path) -> Generator[None, None, None]:
    """Hold the environment for this process; the system lets go of it however the process ends."""
    with target.with_name(f"{target.name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Waiting for another process that is making {target.name} ...")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class Environment:
    """A virtual environment and the two marks that tell what is in it."""

    def __init__(self, target: Path, lock: Path) -> None:
        self.target = target
        self.lock = lock
        self.python = target / "bin" / "python"
        self.packages_mark = target / ".packages"
        self.project_mark = target / ".project"
        version = f"{sys.version_info.major}.{sys.version_info.minor} {target}".encode()
        self.packages_digest = digest(version, lock.read_bytes())
        self.project_digest = digest(*((ROOT / name).read_bytes() for name in PROJECT_FILES))

    def has(self, mark: Path, wanted: str) -> bool:
        """Whether the environment starts and was made of what is wanted."""
        works = self.python.exists()  # false for a link to an interpreter that was removed
        return works and mark.exists() and mark.read_text(encoding="ascii") == wanted

    def pip(self, *arguments: str) -> None:
        """Run the environment's own pip; its output is shown where it fails."""
        command = [str(self.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "-qq", "install"]
        subprocess.run([*command, "--no-deps", *arguments], cwd=ROOT, check=True)

    def make(self) -> None:
        """Bring the environment up to date."""
        if not self.has(self.packages_mark, self.packages_digest):
            count = self.lock.read_text(encoding="utf-8").count("==")
            say(f"Making {self.target.name}: about {count} packages of {self.lock.name}, a minute or two ...")
            started = time.monotonic()
            venv.EnvBuilder(clear=True, with_pip=True, symlinks=True).create(self.target)
            self.pip("--require-hashes", "--requirement", str(self.lock))
            self.packages_mark.write_text(self.packages_digest, encoding="ascii")
            say(f"Made {self.target.name} in {time.monotonic() - started:.0f} s.")
        if not self.has(self.project_mark, self.project_digest):
            self.pip("--no-build-isolation", "--no-index", "--editable", ".")
            self.project_mark.write_text(self.project_digest, encoding="ascii")


def main(arguments: list[str]) -> int:
    """Make the environment; a failure is told in one line after the tool's own output."""
    target, lock = (Path(os.path.abspath(argument)) for argument in arguments)  # noqa: PTH100 - keep links as given
    try:
        with only_one(target):
            Environment(target, lock).make()
    except subprocess.CalledProcessError as error:
        step = " ".join(str(part) for part in error.cmd[1:4])
        say(f"{target.name} is not finished: `{step} ...` failed with status {error.returncode}.")
        say("Its own message is above. (Where Python lacks ensurepip: install your system's python3-venv.)")
        say("Run the same command again to retry.")
        return 1
    except KeyboardInterrupt:
        say(f"Interrupted. {target.name} is not finished; run the same command again.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
