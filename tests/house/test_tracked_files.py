"""What must never be committed: keys, and paths of somebody's machine."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.house.support import ROOT

# Written so that no pattern matches its own text.
_KEYS = re.compile(
    rb"""
    lis_sk[_]                                  # hosted MiniCPM keys
    | \bsk[-](?:proj-|ant-)?[A-Za-z0-9]{20,}   # the shape that most vendors share
    | \bhf[_][A-Za-z0-9]{30,}
    | \bgh[pousr][_][A-Za-z0-9]{30,}
    | \bpypi[-]AgE[A-Za-z0-9_-]{30,}
    | \bAKIA[0-9A-Z]{16}\b
    | -----BEGIN[ ](?:[A-Z]+[ ])?PRIVATE[ ]KEY
    """,
    re.VERBOSE,
)
_MACHINE_PATHS = re.compile(rb"(?<![\w.~-])/(?:root|work|home/[\w.-]+|Users/[\w.-]+)/(?=[\w.-])")


def _tracked() -> list[str]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def _hits(pattern: re.Pattern[bytes]) -> list[str]:
    """Files and lines, without the text itself: the log of a test run is public too."""
    texts = {name: (ROOT / name).read_bytes() for name in _tracked()}
    found = [(name, text[: match.start()]) for name, text in texts.items() for match in pattern.finditer(text)]
    return [f"{name}:{len(before.splitlines())}" for name, before in found]


def test_no_tracked_file_holds_a_key() -> None:
    assert _hits(_KEYS) == []


def test_no_tracked_file_holds_a_path_of_somebodys_machine() -> None:
    assert _hits(_MACHINE_PATHS) == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (_KEYS, b"key = " + b"lis_" + b"sk_123"),
        (_KEYS, b"sk" + b"-0123456789abcdefghijKLMN"),
        (_MACHINE_PATHS, b'open("' + b"/home/" + b'someone/photo.jpg")'),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[bytes], text: bytes) -> None:
    assert pattern.search(text)


@pytest.mark.parametrize("text", [b"sk-test", b"task-0123456789abcdefghijKLMN", b"https://example.org/home/x/y"])
def test_the_patterns_leave_harmless_text_alone(text: bytes) -> None:
    assert not _KEYS.search(text)
    assert not _MACHINE_PATHS.search(text)
