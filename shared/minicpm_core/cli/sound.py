"""What is heard and seen in a conversation from files: a recording, and pictures to go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicpm_core.realtime.recordings import Sound, read_sound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MOST_FRAMES = 300
"""Of a video: as many seconds as a session with video may last."""
_VIDEOS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})


def sound_from(path: Path) -> Sound:
    """The recording in a file; see `read_sound`.

    Raises:
        InvalidMediaError: It is no recording, or broken, or empty.
        ConfigurationError: It is no plain WAV file, and PyAV is not installed.
    """
    with path.open("rb") as file:
        return read_sound(file, label=path.name)


def read_pictures(paths: Sequence[Path]) -> list[bytes]:
    """Pictures, one for each second: files of their own, or a video's, one a second.

    Raises:
        InvalidMediaError: It is no picture and no video.
        ConfigurationError: A video, and PyAV is not installed.
    """
    return [picture for path in paths for picture in (_of_video(path) if _is_video(path) else [path.read_bytes()])]


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in _VIDEOS


def _of_video(path: Path) -> list[bytes]:
    from minicpm_core.media.limits import DEFAULT_LIMITS
    from minicpm_core.media.video import sample_frames, to_jpegs
    from minicpm_core.parts import VideoSampling

    with path.open("rb") as file:
        frames = sample_frames(
            file, VideoSampling(fps=1.0, num_frames=_MOST_FRAMES), limits=DEFAULT_LIMITS, label=path.name
        )
    return to_jpegs(frames)
