"""Decoding: the right frames of every kind of file, upright, and nothing worse than a typed error from a broken one."""

from __future__ import annotations

import io
import threading
from concurrent.futures import CancelledError
from fractions import Fraction
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minicpm_core.errors import InvalidInputError, InvalidMediaError
from minicpm_core.media import containers, frames, video
from minicpm_core.media.limits import DEFAULT_LIMITS, MediaLimits
from minicpm_core.media.video import Frame, sample_frames
from minicpm_core.parts import VideoSampling
from tests.core.media import clips
from tests.core.media.clips import SIZE, number_of, numbered, quarter_video, recording, turned
from tests.core.media.pictures import BLUE, GREEN, RED, WHITE, colour

QUIET = {"x265-params": "log-level=none:pools=none:frame-threads=1"}


def sampled(data: bytes, limits: MediaLimits = DEFAULT_LIMITS, **sampling: Any) -> list[Frame]:
    return sample_frames(io.BytesIO(data), VideoSampling(**sampling), limits=limits, label="The video")


def numbers(taken: list[Frame]) -> list[int]:
    return [number_of(frame.image) for frame in taken]


def seconds(taken: list[Frame]) -> list[float]:
    return [round(frame.seconds, 3) for frame in taken]


@pytest.mark.parametrize(
    ("kind", "codec", "layout", "options"),
    [
        ("mp4", "libx264", "yuv420p", {}),
        ("mp4", "libx264", "yuv444p", {}),
        ("matroska", "libx265", "yuv420p10le", QUIET),
        ("mov", "libx264", "yuv420p", {}),
        ("mov", "prores_ks", "yuv422p10le", {}),
        ("mov", "qtrle", "rgb24", {}),
        ("webm", "libvpx", "yuv420p", {}),
        ("webm", "libvpx-vp9", "yuv420p", {}),
        ("matroska", "libx264", "yuv420p", {}),
        ("matroska", "ffv1", "gbrp16le", {}),
        ("avi", "mpeg4", "yuv420p", {}),
        ("avi", "mjpeg", "yuvj420p", {}),
        ("avi", "rawvideo", "bgr24", {}),
        ("mpegts", "libx264", "yuv420p", {}),
        ("mpegts", "mpeg2video", "yuv420p", {}),
    ],
)
def test_every_kind_gives_the_frames_at_their_times(
    kind: str, codec: str, layout: str, options: dict[str, str]
) -> None:
    rate = 25 if codec == "mpeg2video" else 10
    data = clips.video(kind, codec, numbered(4 * rate), rate, layout, options=options)
    whole = sampled(data, fps=rate, num_frames=200)
    assert numbers(whole) == [number % 64 for number in range(4 * rate)]
    one_a_second = sampled(data)
    assert numbers(one_a_second) == [number % 64 for number in range(0, 4 * rate, rate)]
    assert seconds(one_a_second) == pytest.approx([0, 1, 2, 3], abs=0.09)  # a transport stream's own start


def test_a_file_that_does_not_tell_its_length_is_sampled_over_all_of_it() -> None:
    """As browsers record WebM."""
    live = clips.video("webm", "libvpx", container={"live": "1"})
    assert numbers(sampled(live, num_frames=4)) == [0, 10, 20, 30]


def test_start_and_end_cut_out_a_part() -> None:
    data = clips.video()
    assert numbers(sampled(data, start=1.0, end=3.0)) == [10, 20]
    assert numbers(sampled(data, start=3.5, fps=10)) == [35, 36, 37, 38, 39]
    assert numbers(sampled(data, end=0.01)) == [0]
    with pytest.raises(InvalidMediaError, match=r"lasts 4 s, but is to begin at 4 s"):
        sampled(data, start=4.0)


def test_a_frame_rate_that_varies_keeps_its_times_and_gives_no_frame_twice() -> None:
    data = clips.video("webm", "libvpx", numbered(8), times=[0, 100, 150, 1000, 1010, 5000, 5100, 9000])
    taken = sampled(data, fps=20, num_frames=999)
    assert seconds(taken) == [0, 0.1, 0.15, 1.0, 5.0, 5.1, 9.0]
    assert numbers(taken) == [0, 1, 2, 3, 5, 6, 7]
    assert seconds(sampled(data)) == [0, 1.0, 5.0, 9.0]


def test_fewer_frames_than_asked_for_are_those_that_there_are() -> None:
    assert numbers(sampled(clips.video(images=numbered(3)), fps=100, num_frames=500)) == [0, 1, 2]
    assert numbers(sampled(clips.video(images=numbered(1)))) == [0]


@pytest.mark.parametrize("orientation", clips.TURNED)
def test_what_a_phone_turned_or_mirrored_stands_upright(orientation: int) -> None:
    corners = {
        1: (RED, GREEN, BLUE, WHITE), 2: (GREEN, RED, WHITE, BLUE), 3: (WHITE, BLUE, GREEN, RED),
        4: (BLUE, WHITE, RED, GREEN), 5: (RED, BLUE, GREEN, WHITE), 6: (BLUE, RED, WHITE, GREEN),
        7: (WHITE, GREEN, BLUE, RED), 8: (GREEN, WHITE, RED, BLUE),
    }[orientation]  # fmt: skip
    for kind in ("mp4", "mov"):
        image = sampled(turned(quarter_video(kind), orientation))[0].image
        width, height = image.size
        assert (width, height) == (SIZE if orientation < 5 else SIZE[::-1])
        places = ((9, 9), (width - 9, 9), (9, height - 9), (width - 9, height - 9))
        for place, expected in zip(places, corners, strict=True):
            assert colour(image, place) == pytest.approx(expected, abs=12)


def test_pixels_become_square_and_frames_no_larger() -> None:
    for shape, size in ((Fraction(4, 3), (320, 134)), (Fraction(1, 2), (160, 180))):
        assert sampled(clips.video(shape=shape))[0].image.size == size
    assert sampled(clips.video(images=numbered(2, (1280, 720))))[0].image.size == (596, 336)
    assert sampled(clips.video(), max_pixels=5000)[0].image.size == (94, 52)


@pytest.mark.parametrize(("codec", "layout"), [("qtrle", "argb"), ("png", "rgba"), ("prores_ks", "yuva444p10le")])
def test_what_is_transparent_becomes_white(codec: str, layout: str) -> None:
    clear = Image.new("RGBA", SIZE, (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 160, 180))
    image = sampled(clips.video("mov", codec, [clear] * 2, 10, layout))[0].image
    assert colour(image, (40, 90)) == pytest.approx((0, 0, 255), abs=4)
    assert colour(image, (280, 90)) == pytest.approx((255, 255, 255), abs=4)


@pytest.mark.skipif(int(av.__version__.partition(".")[0]) < 17, reason="this PyAV cannot convert it")
@pytest.mark.parametrize(("curve", "brightness"), [("smpte2084", 185), ("arib-std-b67", 144)])
def test_hdr_is_brought_to_the_range_of_a_screen(curve: str, brightness: int) -> None:
    """What is mid-grey by the samples alone is far brighter in HDR10, and somewhat in the HLG of phones."""
    gray = [Image.new("RGB", SIZE, (128, 128, 128))] * 2
    tags = {"color_trc": curve, "color_primaries": "bt2020", "colorspace": "bt2020nc"}
    hdr = sampled(clips.video("mp4", "libx264", gray, 10, "yuv420p10le", options=tags))[0].image
    plain = sampled(clips.video("mp4", "libx264", gray, 10, "yuv420p10le"))[0].image
    assert colour(plain) == pytest.approx((128, 128, 128), abs=6)
    assert colour(hdr) == pytest.approx((brightness,) * 3, abs=12)


def test_frames_keep_one_size_where_the_video_changes_its_own() -> None:
    """A call's recording does, as the line gets worse."""
    large, small = (clips.video("mpegts", "mpeg2video", numbered(50, size), 25) for size in ((640, 360), (320, 180)))
    taken = sampled(large + small, fps=5, num_frames=99)
    assert len(taken) >= 2
    assert {frame.image.size for frame in taken} == {(596, 336)}


@pytest.mark.parametrize(
    ("kind", "codec"), [("webm", "libvpx"), ("avi", "mpeg4"), ("mpegts", "libx264"), ("matroska", "libx264")]
)
def test_a_file_that_is_cut_off_gives_the_frames_before(kind: str, codec: str) -> None:
    data = clips.video(kind, codec)
    taken = sampled(data[: len(data) * 7 // 10], fps=10, num_frames=99)
    assert 5 < len(taken) < 40
    assert numbers(taken)[:5] == [0, 1, 2, 3, 4]


def test_damage_in_the_middle_leaves_the_rest() -> None:
    data = bytearray(clips.video("mpegts", "mpeg2video", rate=25, options={"g": "5"}))
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    taken = sampled(bytes(data), fps=25, num_frames=99)
    assert numbers(taken)[0] == 0
    assert numbers(taken)[-1] == 39
    assert len(taken) > 20


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (clips.video()[:-2000], "cannot be opened: it is cut off"),
        (clips.video("webm", "libvpx")[:400], "cannot be opened: it is cut off"),
        (recording("webm", "libopus", 48_000), "no pictures: it is a recording. Send it as audio"),
        (recording("ipod", "aac", 44_100), "an M4A recording: send it as audio"),
        (clips.video("avi", "utvideo", layout="gbrp"), "encoded with utvideo, which is not decoded here"),
    ],
)
def test_what_has_no_frames_is_refused_by_a_typed_error(data: bytes, match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        sampled(data)


def test_the_cover_of_a_recording_is_no_video() -> None:
    data = clips.video("mp4", images=numbered(2), sound=True)
    assert len(sampled(data, fps=10)) == 2
    with pytest.raises(InvalidMediaError, match="no pictures"):
        sampled(clips.with_cover())


def test_frames_too_large_or_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = clips.video()
    with pytest.raises(InvalidMediaError, match="320 x 180 pixels; the limit is 1000"):
        sampled(data, MediaLimits(max_pixels=1000))
    monkeypatch.setattr(video, "MAX_KEPT_PIXELS", 3 * 320 * 180)
    assert len(sampled(data, num_frames=3)) == 3
    with pytest.raises(InvalidMediaError, match="4 frames of 320 x 180 pixels"):
        sampled(data, num_frames=4)
    monkeypatch.setattr(frames, "MAX_FRAME_PIXELS", 1000)
    with pytest.raises(InvalidMediaError, match="the limit is 1000 a frame"):
        sampled(data)


def test_a_frame_that_grows_in_the_middle_is_refused_by_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (clips.video("mpegts", "mpeg2video", numbered(5, size), 25) for size in ((320, 180), (1280, 720)))
    monkeypatch.setattr(containers, "MAX_FRAME_PIXELS", 500_000)
    monkeypatch.setattr(frames, "MAX_FRAME_PIXELS", 500_000)
    taken = sampled(small + large, fps=25)
    assert 0 < len(taken) <= 5
    assert all(number == number % 5 for number in numbers(taken))


def test_a_video_that_is_too_long_says_what_to_do() -> None:
    limits = MediaLimits(max_seconds=3)
    with pytest.raises(InvalidMediaError, match=r"too long: 4 s.*start and end"):
        sampled(clips.video(), limits)
    assert numbers(sampled(clips.video(), limits, start=1.5)) == [15, 25, 35]


def film() -> bytes:
    """400 s with a keyframe every second."""
    return clips.video("mp4", images=numbered(800, (64, 64)), rate=2, options={"g": "2", "preset": "ultrafast"})


def test_a_long_film_is_not_decoded_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 800 frames some 3 for each that is taken, so that a bound on 60 does not stop it."""
    data = film()
    monkeypatch.setattr(frames, "MAX_DECODED_PIXELS", 60 * 64 * 64)
    taken = sampled(data, num_frames=10)
    assert seconds(taken) == [40 * number for number in range(10)]
    assert numbers(taken) == [80 * number % 64 for number in range(10)]
    assert numbers(sampled(data, start=399.0)) == [798 % 64]
    with pytest.raises(InvalidMediaError, match="takes too long to decode"):
        sampled(data, fps=2, num_frames=900)


@pytest.mark.parametrize(
    ("kind", "codec"), [("webm", "libvpx"), ("matroska", "libx264"), ("avi", "mpeg4"), ("mpegts", "libx264")]
)
def test_jumping_gives_the_same_frames_as_reading_through(
    kind: str, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = clips.video(kind, codec, numbered(600, (64, 64)), 10, options={"g": "25"})
    jumped = sampled(data, num_frames=4)
    monkeypatch.setattr(frames, "_JUMP", float("inf"))
    assert seconds(sampled(data, num_frames=4)) == seconds(jumped)
    assert numbers(sampled(data, num_frames=4)) == numbers(jumped) == [0, 150 % 64, 300 % 64, 450 % 64]


def test_keyframes_too_far_apart_cost_one_jump_in_vain_at_most_for_each_doubling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One keyframe in 120 s: without the doubling 30 jumps would decode fifteen times the film."""
    data = clips.video("mp4", images=numbered(240, (64, 64)), rate=2, options={"g": "1000", "sc_threshold": "0"})
    monkeypatch.setattr(frames, "MAX_DECODED_PIXELS", 2 * 240 * 64 * 64)
    assert numbers(sampled(data, num_frames=30)) == [8 * number % 64 for number in range(30)]


def test_progress_rises_to_one() -> None:
    told: list[float] = []
    sample_frames(
        io.BytesIO(clips.video()), VideoSampling(), limits=DEFAULT_LIMITS, label="The video", progress=told.append
    )
    assert told == sorted(set(told))
    assert told[-1] == 1.0
    assert 3 < len(told) <= 100


def test_stopping_from_the_callback_ends_it() -> None:
    stop = threading.Event()
    told: list[float] = []

    def tell(fraction: float) -> None:
        told.append(fraction)
        stop.set()

    file = io.BytesIO(clips.video())
    with pytest.raises(CancelledError):
        sample_frames(file, VideoSampling(), limits=DEFAULT_LIMITS, label="The video", stop=stop, progress=tell)
    assert 0 < told[-1] < 1
    assert not file.closed
    assert file.tell() == 0


BASES = [clips.video(kind, codec, numbered(6, (64, 64))) for kind, codec in (
    ("mp4", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4"), ("mpegts", "libx264"),
)]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(BASES),
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=20),
    st.floats(0.1, 1),
)
def test_nothing_in_a_file_does_more_than_raise_a_typed_error(
    data: bytes, changes: list[tuple[float, int]], kept: float
) -> None:
    broken = bytearray(data)
    for at, value in changes:
        broken[int(at * len(data))] = value
    try:
        taken = sampled(bytes(broken[: int(len(data) * kept)]), fps=10)
    except InvalidInputError:
        return
    assert taken
    assert len({frame.image.size for frame in taken}) == 1
