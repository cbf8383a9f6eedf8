"""The frames of a video: which, how large, and what is sent of them."""

from __future__ import annotations

import io
import itertools
import math
import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from minicpm_core.errors import ConfigurationError, InvalidInputError, InvalidMediaError
from minicpm_core.media.limits import DEFAULT_LIMITS
from minicpm_core.media.tokens import count_image_tokens, video_tokens, visual_tokens
from minicpm_core.media.video import Frame, frame_size, plan, sample_frames, to_jpegs, to_mp4
from minicpm_core.parts import TILE_PIXELS, VideoSampling
from tests.core.media.clips import number_of, numbered, shown_in, video
from tests.core.media.pictures import difference, quarters

SECONDS = st.floats(0.05, 20_000)
SAMPLINGS = st.builds(
    VideoSampling,
    fps=st.none() | st.floats(0.01, 120),
    num_frames=st.integers(1, 300),
    start=st.just(0.0) | st.floats(0, 1000),
)


@pytest.mark.parametrize(
    ("duration", "sampling", "times"),
    [
        (4.0, VideoSampling(), [0, 1, 2, 3]),
        (4.2, VideoSampling(), [0, 1, 2, 3, 4]),
        (4.0004, VideoSampling(), [0, 1, 2, 3]),
        (0.5, VideoSampling(), [0]),
        (0.0, VideoSampling(), [0]),
        (8.0, VideoSampling(num_frames=4), [0, 2, 4, 6]),
        (2.0, VideoSampling(fps=2), [0, 0.5, 1, 1.5]),
        (8.0, VideoSampling(fps=2, num_frames=4), [0, 2, 4, 6]),
        (8.0, VideoSampling(fps=0.25), [0, 4]),
        (8.0, VideoSampling(start=5), [5, 6, 7]),
        (8.0, VideoSampling(start=2, end=4), [2, 3]),
        (8.0, VideoSampling(start=6, end=99), [6, 7]),
        (8.0, VideoSampling(start=8), []),
    ],
)
def test_which_times_are_taken(duration: float, sampling: VideoSampling, times: list[float]) -> None:
    assert plan(duration, sampling) == pytest.approx(times)


@given(SECONDS, SAMPLINGS)
def test_times_are_even_within_the_bounds_and_cover_the_clip(duration: float, sampling: VideoSampling) -> None:
    times = plan(duration, sampling)
    assume(times)
    span = duration - sampling.start
    assert len(times) <= sampling.num_frames
    assert times[0] == sampling.start
    assert all(sampling.start <= time < duration for time in times)
    steps = [later - time for time, later in itertools.pairwise(times)]
    assert steps == pytest.approx([steps[0]] * len(steps) if steps else [], abs=1e-6)
    assert all(step >= 1 / (sampling.fps or 1.0) - 1e-6 for step in steps)
    longest = max(1 / (sampling.fps or 1.0), span / sampling.num_frames)
    assert duration - times[-1] <= longest * 1.002 + 1e-6, "the end of the clip is not left out"


@given(SECONDS, SAMPLINGS)
def test_more_frames_are_never_asked_for_by_a_lower_rate(duration: float, sampling: VideoSampling) -> None:
    slower = VideoSampling(fps=(sampling.fps or 1.0) / 2, num_frames=sampling.num_frames, start=sampling.start)
    assert len(plan(duration, slower)) <= len(plan(duration, sampling))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1280, 720), (596, 336)),
        ((1920, 1080), (596, 336)),
        ((720, 1280), (336, 596)),
        ((448, 448), (448, 448)),
        ((320, 180), (320, 180)),
        ((321, 181), (320, 180)),
        ((1, 1), (2, 2)),
        ((100_000, 1), (100_000, 2)),
    ],
)
def test_frames_fit_one_tile(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert frame_size(size, TILE_PIXELS) == expected


@given(st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)), st.integers(4, 10**8))
def test_sizes_are_even_within_the_bound_and_never_larger(size: tuple[int, int], max_pixels: int) -> None:
    width, height = frame_size(size, max_pixels)
    assert width % 2 == height % 2 == 0
    assert width * height <= max_pixels
    assert width <= max(size[0], 2)
    assert height <= max(size[1], 2)
    if min(width, height) >= 100:
        assert math.isclose(width / height, size[0] / size[1], rel_tol=0.03)


@pytest.mark.parametrize(("size", "max_pixels"), [((0, 5), 100), ((5, -1), 100), ((5, 5), 0)])
def test_impossible_sizes_are_refused(size: tuple[int, int], max_pixels: int) -> None:
    with pytest.raises(InvalidInputError, match="must be 1 or more"):
        frame_size(size, max_pixels)


def frames_of(count: int, step: float = 1.0, size: tuple[int, int] = (320, 180)) -> list[Frame]:
    return [Frame(number * step, image) for number, image in enumerate(numbered(count, size))]


@pytest.mark.parametrize("count", [1, 2, 3, 32, 64])
def test_the_mp4_holds_our_frames_in_order_and_no_others(count: int) -> None:
    """A server that takes as many evenly, or more, takes just these."""
    shown = shown_in(to_mp4(frames_of(count), label="The video"))
    assert [number_of(image) for image in shown] == list(range(count))


@pytest.mark.parametrize("step", [0.04, 0.5, 1.0, 1.875, 225.0])
def test_the_mp4_runs_at_the_true_speed(step: float) -> None:
    """Read back and sampled again at its own rate it gives the same frames at the same times."""
    made = to_mp4(frames_of(8, step), label="The video")
    again = sample_frames(
        io.BytesIO(made), VideoSampling(fps=1 / step, num_frames=99), limits=DEFAULT_LIMITS, label="The video"
    )
    assert [number_of(frame.image) for frame in again] == list(range(8))
    assert [frame.seconds for frame in again] == pytest.approx([number * step for number in range(8)], rel=0.01)


def test_the_mp4_has_its_index_first() -> None:
    """So that a server can begin before it has all of it."""
    for count in (1, 300):
        made = to_mp4(frames_of(count), label="The video")
        assert made[4:8] == b"ftyp"
        assert 0 < made.index(b"moov") < made.index(b"mdat")


@pytest.mark.parametrize("size", [(2, 2), (16, 1000), (448, 448)])
def test_the_mp4_takes_odd_shapes(size: tuple[int, int]) -> None:
    assert [image.size for image in shown_in(to_mp4(frames_of(2, size=size), label="The video"))] == [size, size]


def test_the_mp4_looks_like_the_frames() -> None:
    picture = quarters((320, 180))
    shown = shown_in(to_mp4([Frame(0.0, picture)], label="The video"))[0]
    for at in ((0, 0, 150, 80), (170, 0, 320, 80), (0, 100, 150, 180), (170, 100, 320, 180)):
        assert difference(shown.crop(at), picture.crop(at)) < 16


def test_no_frames_make_no_video() -> None:
    with pytest.raises(InvalidMediaError, match="has no frames"):
        to_mp4([], label="The video")
    assert to_jpegs([]) == []


def test_jpegs_are_the_frames_one_by_one() -> None:
    files = to_jpegs(frames_of(3))
    pictures = [Image.open(io.BytesIO(file)) for file in files]
    assert [picture.format for picture in pictures] == ["JPEG"] * 3
    assert [number_of(picture) for picture in pictures] == [0, 1, 2]
    noise = [Frame(0.0, Image.effect_noise((320, 180), 80).convert("RGB"))]
    assert len(to_jpegs(noise, quality=50)[0]) < len(to_jpegs(noise)[0])


@pytest.mark.parametrize("missing", ["av", "PIL"])
def test_what_has_to_be_installed_is_said(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = video()
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "minicpm_core.media.frames", raising=False)
    with pytest.raises(ConfigurationError, match="pip install"):
        sample_frames(io.BytesIO(data), VideoSampling(), limits=DEFAULT_LIMITS, label="The video")


def test_a_frame_of_one_tile_costs_a_seventh_of_720p() -> None:
    """The numbers that servers report for 32 frames, without the marks around each: 14,208 and 2,112."""
    assert 32 * visual_tokens((1280, 720)) == 14_208
    assert 32 * visual_tokens((596, 336)) == 2112
    small, large = (video_tokens(32, size, "MiniCPM-V-4.6-1B") for size in ((596, 336), (1280, 720)))
    assert 2112 < small < 2112 + 32 * 7
    assert 14_208 < large < 14_208 + 32 * 20
    assert large > 6 * small


def test_each_frame_counts_as_a_picture() -> None:
    model = "MiniCPM-V-4.6-1B"
    assert video_tokens(1, (596, 336), model) == count_image_tokens((596, 336), model)
    assert video_tokens(12, (640, 480), model) == sum(count_image_tokens((640, 480), model, index=i) for i in range(12))
    assert video_tokens(2, (1280, 720), model, max_slices=1) == video_tokens(2, (1280, 720), model) - 2 * (378 + 13)


def test_older_models_take_each_frame_whole() -> None:
    assert video_tokens(10, (1280, 720), "MiniCPM-O-4.5-9B") == 10 * (64 + 5)


def test_a_video_without_frames_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at least one frame"):
        video_tokens(0, (448, 448), "MiniCPM-V-4.6-1B")


def test_importing_these_modules_imports_no_codec() -> None:
    """In an interpreter of its own, since this one has them already."""
    code = (
        "import sys, minicpm_core.media.video, minicpm_core.media.audio, minicpm_core.media.containers\n"
        "sys.exit([name for name in sys.modules if name.split('.')[0] in {'av', 'PIL', 'numpy'}] or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
