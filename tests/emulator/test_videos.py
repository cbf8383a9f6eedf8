"""Videos are decoded and measured: what is said of them is true, and what a server does not take is refused."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.backends import BACKENDS
from minicpm_core.emulator import DIALECTS
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.emulator.videos import sampling_of
from minicpm_core.media import count_image_tokens
from minicpm_core.media.tokens import video_tokens
from minicpm_core.media.video import sample_frames
from tests.core.media import clips
from tests.emulator.clips import (
    CARD,
    SEES,
    SIZE,
    base64_of,
    frames_url,
    input_video,
    jpeg,
    traffic_light,
    user,
    video_url,
)
from tests.emulator.support import plain, shown

if TYPE_CHECKING:
    from tests.emulator.conftest import AskerFactory

V46 = CARD["video"]
MODELS = {"modelbest": "MiniCPM-V-4.6-1B", "ollama": "minicpm-v4.6"}
SHAPES = {
    "mp4": lambda: video_url(traffic_light()),
    "webm": lambda: video_url(traffic_light("webm", "libvpx"), "video/webm"),
    "mov": lambda: video_url(traffic_light("mov"), "video/quicktime"),
    "frames": lambda: frames_url(*map(jpeg, ["red"] * 8 + ["green"] * 16 + ["blue"] * 8)),
    "input_video": lambda: input_video(traffic_light()),
}
TAKES = {
    "modelbest": {"mp4", "webm", "mov", "frames"},
    "vllm": {"mp4", "webm", "mov", "frames"},
    "llamacpp": {"input_video"},
    "transformers": {"mp4", "webm", "mov"},
    "ollama": set[str](),
}


@pytest.mark.parametrize(("dialect", "shape"), [(dialect, shape) for dialect in TAKES for shape in TAKES[dialect]])
@pytest.mark.parametrize("stream", [False, True])
def test_a_video_is_described_from_the_frames_that_the_server_takes(
    asker_of: AskerFactory, dialect: str, shape: str, stream: bool
) -> None:
    asker = asker_of(dialect=dialect)
    message, model = user("What happens?", SHAPES[shape]()), MODELS.get(dialect, V46)
    said = asker.stream(message, model=model).joined("content") if stream else asker.text(message, model=model)
    lasts = "" if shape == "frames" else ", about 4.0 seconds"
    # Some servers begin the content of an answer with blank lines.
    assert said.strip() == f"A video of 32 frames, 320 x 180 pixels{lasts}; it {SEES} (emulator, not a model)"


@pytest.mark.parametrize(
    ("dialect", "shape"), [(dialect, shape) for dialect in TAKES for shape in SHAPES if shape not in TAKES[dialect]]
)
def test_a_shape_that_the_server_does_not_take_is_refused(asker_of: AskerFactory, dialect: str, shape: str) -> None:
    response = asker_of(dialect=dialect).post(user("?", SHAPES[shape]()), model=MODELS.get(dialect, V46))
    words = {
        "modelbest": (400, "At most 0 video(s) may be provided in one prompt."),
        "vllm": (400, "At most 0 video(s) may be provided in one prompt."),
        "llamacpp": (500, "video input is not supported"),
        "transformers": (500, "Internal Server Error"),
        "ollama": (400, "invalid message format"),
    }
    status, said = words[dialect]
    assert response.status_code == status
    assert said in response.text


def test_every_dialect_has_its_row_here() -> None:
    assert TAKES.keys() == DIALECTS.keys()


def test_a_short_video_gives_each_of_its_frames_once(asker_of: AskerFactory) -> None:
    message = user("How many frames?", video_url(traffic_light(count=8)))
    assert asker_of(dialect="vllm").text(message, model=V46).startswith("I got 8 frames of it. ")


@pytest.mark.parametrize(
    ("asked", "frames"),
    [({"num_frames": 5}, 5), ({"num_frames": 40}, 40), ({"num_frames": 400}, 40), ({"fps": 2}, 8), ({"fps": 0.5}, 2)],
)
def test_vllm_samples_as_the_request_says(asker_of: AskerFactory, asked: dict[str, Any], frames: int) -> None:
    message = user("How many frames?", video_url(traffic_light()))
    said = asker_of(dialect="vllm").text(message, model=V46, media_io_kwargs={"video": asked})
    assert said.startswith(f"I got {frames} frames of it. ")


def test_of_a_longer_list_as_many_frames_are_taken_as_the_request_says(asker_of: AskerFactory) -> None:
    asker, message = asker_of(dialect="vllm"), user("How many frames?", frames_url(*[jpeg("red")] * 40))
    assert asker.text(message, model=V46).startswith("I got 32 frames of it. ")
    more = asker.text(message, model=V46, media_io_kwargs={"video": {"num_frames": 64}})
    assert more.startswith("I got 40 frames of it. ")


@pytest.mark.parametrize(
    "kwargs",
    [
        5,
        {"video": 5},
        {"video": {"num_frames": 0}},
        {"video": {"num_frames": -1}},
        {"video": {"num_frames": 2.5}},
        {"video": {"num_frames": True}},
        {"video": {"fps": 0}},
        {"video": {"fps": "fast"}},
    ],
)
def test_a_sampling_that_cannot_be_is_refused(asker_of: AskerFactory, kwargs: Any) -> None:
    response = asker_of(dialect="vllm").post(user("?", video_url(traffic_light())), model=V46, media_io_kwargs=kwargs)
    assert response.status_code == 400
    assert "media_io_kwargs" in response.json()["error"]["message"]


def test_a_server_without_that_field_does_not_heed_it(asker_of: AskerFactory) -> None:
    message = user("How many frames?", input_video(traffic_light()))
    said = asker_of(dialect="llamacpp").text(message, model=V46, media_io_kwargs={"video": {"num_frames": 0}})
    assert said.startswith("I got 32 frames of it. ")


def test_sglang_reads_the_sampling_beside_the_url() -> None:
    sglang = BACKENDS["sglang"]
    sampling = sampling_of({"media_io_kwargs": {"video": {"num_frames": 3}}}, {"max_frames": 8, "fps": 2}, "x", sglang)
    assert (sampling.num_frames, sampling.fps) == (8, 2)
    with pytest.raises(Refusal, match="max_frames must be at least 1, got 0"):
        sampling_of({}, {"max_frames": 0}, "x", sglang)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How long is the clip?", "It lasts about 4.0 seconds."),
        (
            "How many frames has it, and what is its duration?",
            "I got 32 frames of it. It lasts about 4.0 seconds.",
        ),
        ("Which colour does it have at the end?", "It ends blue and very dark."),
        ("What is the first color?", "It begins red and dark."),
    ],
)
def test_questions_about_a_video_are_answered(asker_of: AskerFactory, question: str, answer: str) -> None:
    said = asker_of(dialect="vllm").text(user(question, video_url(traffic_light())), model=V46)
    assert said == f"{answer} (emulator, not a model)"


def test_a_list_of_frames_does_not_say_how_long_it_lasts(asker_of: AskerFactory) -> None:
    said = asker_of(dialect="vllm").text(user("How long is it?", frames_url(jpeg("red"))), model=V46)
    assert said.startswith("A list of frames does not say")


def test_a_turned_video_has_the_size_that_it_is_shown_in(asker_of: AskerFactory) -> None:
    data = clips.turned(clips.quarter_video("mov"), 6)
    assert "180 x 320 pixels" in asker_of(dialect="vllm").text(user("?", video_url(data)), model=V46)


def test_frames_are_counted_as_they_arrive_not_as_they_are_measured(asker_of: AskerFactory) -> None:
    asker, size = asker_of(dialect="vllm"), (1280, 720)
    data = clips.video(images=clips.numbered(3, size))
    text_only = asker.ask("?", model=V46)["usage"]["prompt_tokens"]
    usage = asker.ask(user("?", video_url(data)), model=V46)["usage"]
    assert usage["prompt_tokens"] - text_only == 3 * count_image_tokens(size, V46)


def test_a_video_counts_when_pictures_are_numbered(asker_of: AskerFactory) -> None:
    asker, pictures = asker_of(dialect="vllm"), shown("?", *[plain("red", (10, 10))] * 10)["content"]
    usages = [
        asker.ask([{"role": "user", "content": [frames_url(jpeg("red")), *pictures[at:]]}], model=V46)["usage"]
        for at in (0, 1)
    ]
    eleventh = count_image_tokens((10, 10), V46, index=10)
    assert usages[0]["prompt_tokens"] - usages[1]["prompt_tokens"] == eleventh


def test_thoughts_say_what_each_medium_costs(asker_of: AskerFactory) -> None:
    message = [*shown("See this.", plain("red"))["content"], video_url(traffic_light()), frames_url(jpeg("red"))]
    thoughts = asker_of(dialect="vllm").message(
        [{"role": "user", "content": message}], model=V46, chat_template_kwargs={"enable_thinking": True}
    )["reasoning"]
    assert "Picture 1 is 64 x 64 pixels: " in thoughts
    assert f"Video 1 is 32 frames of 320 x 180 pixels: {video_tokens(32, SIZE, V46)} tokens." in thoughts
    assert f"Video 2 is 1 frame of 320 x 180 pixels: {count_image_tokens(SIZE, V46)} tokens." in thoughts


def test_an_earlier_video_is_remembered_when_it_is_spoken_of(asker_of: AskerFactory) -> None:
    first = user("Look.", video_url(traffic_light()))
    more = [*first, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "How long is the video?"}]
    assert asker_of(dialect="vllm").text(more, model=V46).startswith("It lasts about 4.0 seconds.")


def test_a_form_about_a_video_is_filled_with_what_was_measured(asker_of: AskerFactory) -> None:
    names = {"frames": "integer", "duration": "number", "main_color": "string", "description": "string"}
    schema = {"type": "object", "properties": {name: {"type": kind} for name, kind in names.items()}}
    answer = asker_of(dialect="vllm").text(
        user("Fill in the form.", video_url(traffic_light())),
        model=V46,
        response_format={"type": "json_schema", "json_schema": {"name": "video", "schema": schema}},
    )
    assert json.loads(answer) == {
        "frames": 32,
        "duration": 4.0,
        "main_color": "green",
        "description": f"A video of 32 frames, 320 x 180 pixels, about 4.0 seconds; it {SEES}",
    }


BROKEN: dict[str, dict[str, Any]] = {
    "Failed to load video: The video is not a video of a known kind": video_url(b"this is not a video" * 50),
    "Failed to load video: The video is not a video, but a WAV recording": video_url(clips.recording()),
    "Failed to load video: The video looks like an MP4 video, but cannot be opened": video_url(traffic_light()[:900]),
    "Failed to load video: all input arrays must have the same shape": frames_url(jpeg("red"), jpeg("red", (64, 64))),
    "Failed to load image: cannot identify image file": frames_url(jpeg("red"), b"no picture"),
    "Non-base64 digit found": {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,@@@@"}},
    "The emulator fetches nothing: send the video as a base64 data URL.": {
        "type": "video_url",
        "video_url": {"url": "https://example.org/clip.mp4"},
    },
    "Cannot load local files": {"type": "video_url", "video_url": {"url": "file:///clip.mp4"}},
    "Input should be a valid string": {"type": "video_url", "video_url": {}},
    "Input should be a valid dictionary": {"type": "video_url", "video_url": "data:video/mp4;base64,"},
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_video_that_cannot_be_loaded_is_refused(asker_of: AskerFactory, words: str) -> None:
    response = asker_of(dialect="vllm").post(user("?", BROKEN[words]), model=V46)
    assert response.status_code == 400
    assert words in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "part",
    [input_video(b"no video" * 99), {"type": "input_video", "input_video": {"data": "ä"}}],
    ids=["file", "text"],
)
def test_llama_server_says_that_of_a_broken_video_in_its_own_words(asker_of: AskerFactory, part: Any) -> None:
    response = asker_of(dialect="llamacpp").post(user("?", part), model=V46)
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "Failed to load image or audio file"


def test_a_video_cannot_stand_in_a_system_message(asker_of: AskerFactory) -> None:
    system = {"role": "system", "content": [frames_url(jpeg("red"))]}
    response = asker_of(dialect="vllm").post([system, {"role": "user", "content": "?"}], model=V46)
    assert "System message cannot contain videos." in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("dialect", "part"), [("vllm", video_url), ("transformers", video_url), ("llamacpp", input_video)]
)
def test_without_pyav_the_emulator_says_what_to_install(
    asker_of: AskerFactory, monkeypatch: pytest.MonkeyPatch, dialect: str, part: Any
) -> None:
    asker = asker_of(dialect=dialect)
    data = traffic_light()
    monkeypatch.setitem(sys.modules, "av", None)
    response = asker.post(user("?", part(data)), model=V46)
    assert response.status_code == 400
    assert "pip install 'minicpm-integrations[media]'" in response.text


def test_a_list_of_frames_needs_no_pyav(asker_of: AskerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    said = asker_of(dialect="vllm").text(user("?", frames_url(jpeg("blue"))), model=V46)
    assert said.startswith("A video of 1 frame, 320 x 180 pixels; it is blue and very dark; mainly blue.")


def test_a_data_url_may_be_written_in_capitals(asker_of: AskerFactory) -> None:
    part = {"type": "video_url", "video_url": {"url": f"data:VIDEO/JPEG;base64,{base64_of(jpeg('red'))}"}}
    assert asker_of(dialect="vllm").text(user("?", part), model=V46).startswith("A video of 1 frame")


def test_others_are_answered_while_a_video_is_decoded(asker_of: AskerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    asker, begun, may_end = asker_of(dialect="vllm"), threading.Event(), threading.Event()

    def slow(*args: Any, **settings: Any) -> Any:
        begun.set()
        assert may_end.wait(20)
        return sample_frames(*args, **settings)

    monkeypatch.setattr("minicpm_core.emulator.videos.sample_frames", slow)
    with ThreadPoolExecutor(1) as pool:
        video = pool.submit(asker.text, user("How many frames?", video_url(traffic_light())), model=V46)
        assert begun.wait(20)
        other = asker.text("Count to 3.", model=V46)
        waited = not video.done()
        may_end.set()
        assert (other, waited) == ("1 2 3", True)
        assert video.result().startswith("I got 32 frames of it.")
