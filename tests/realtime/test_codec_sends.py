"""Every frame that is sent keeps to the schema of its generation; whatever would not is refused before."""

from __future__ import annotations

import base64
import math
from array import array
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.errors import ConfigurationError, InvalidInputError, UnsupportedFeatureError
from minicpm_core.realtime.client_events import (
    ChatAppend,
    ChatMessage,
    ChatPart,
    InputAppend,
    SessionClose,
    SessionInit,
    Voice,
)
from minicpm_core.realtime.codec import Codec
from tests.realtime.frames import check_sent

if TYPE_CHECKING:
    from minicpm_core.realtime.client_events import ClientEvent

UNIT = bytes(64_000)
JPEG = b"\xff\xd8\xff\xe0 a picture"
VOICE = array("f", [0.25, -0.5]).tobytes()


def _floats(*values: float) -> bytes:
    return array("f", [*values, *[0.0] * (16_000 - len(values))]).tobytes()


def _sent(event: ClientEvent, generation: Any = 2) -> dict[str, Any]:
    return check_sent(Codec(generation=generation).encode(event), generation)


_CONFIG = {"temperature": 0.7, "top_k": 20, "ls_mode": "explicit", "listen_top_k": None, "length_penalty": 1}
_BOTH: list[ClientEvent] = [
    SessionInit(),
    SessionInit(system_prompt="Sei freundlich. 你好 😀", max_slice_nums=4),
    SessionInit(voice=Voice(ref_audio=VOICE, tts_ref_audio=VOICE)),
    InputAppend(audio=UNIT),
    InputAppend(audio=_floats(1.0, -1.0), video_frames=(JPEG,), force_listen=True, max_slice_nums=9, input_id="in_1"),
    SessionClose(),
    SessionClose(reason="user_stop"),
]
_SECOND_ONLY: list[ClientEvent] = [
    SessionInit(config=_CONFIG, extra={"use_tts": True}),
    SessionInit(config={"something_new": [1, 2]}),
    InputAppend(audio=UNIT, video_frames=(JPEG, JPEG), max_slice_nums=(1, 4), extra={"hints": {"force_listen": True}}),
    ChatAppend(messages=[ChatMessage("user", "Hello")]),
    ChatAppend(
        messages=(
            ChatMessage("system", "Be brief."),
            ChatMessage(
                "user",
                (
                    ChatPart(type="text", text="What is this?"),
                    ChatPart(type="image", data=JPEG),
                    ChatPart(type="audio", data=VOICE),
                    ChatPart(type="video", data=b"film", stack_frames=2),
                ),
            ),
        ),
        streaming=False,
        max_new_tokens=64,
        length_penalty=1.2,
        max_slice_nums=2,
        omni_mode=True,
        speak=True,
        voice=VOICE,
        use_tts_template=True,
        enable_thinking=False,
        input_id="in_1",
        response_id="resp_1",
        extra={"something": "new"},
    ),
]


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("event", _BOTH, ids=repr)
def test_what_both_generations_know_is_valid_in_both(event: ClientEvent, generation: int) -> None:
    assert _sent(event, generation)["type"]


@pytest.mark.parametrize("event", _SECOND_ONLY, ids=lambda event: repr(event)[:60])
def test_what_the_second_generation_knows_is_valid(event: ClientEvent) -> None:
    assert _sent(event)["type"] in {"session.init", "input.append"}


@pytest.mark.parametrize(
    "event",
    [event for event in _SECOND_ONLY if not isinstance(event, InputAppend)]
    + [InputAppend(audio=UNIT, extra={"hints": {}})],
    ids=lambda event: repr(event)[:60],
)
def test_what_the_first_generation_lacks_is_refused_and_not_left_out(event: ClientEvent) -> None:
    with pytest.raises(UnsupportedFeatureError, match="first generation"):
        Codec(generation=1).encode(event)


def test_a_unit_is_16000_float32_samples_in_base64() -> None:
    unit = _floats(0.5, -0.25)
    sent = _sent(InputAppend(audio=unit, input_id="in_7"))["input"]
    assert len(sent["audio"]) == 85_336
    assert base64.b64decode(sent["audio"]) == unit
    assert sent["input_id"] == "in_7"


def test_the_names_of_the_first_generation() -> None:
    init = _sent(SessionInit(system_prompt="Hi", voice=Voice(ref_audio=VOICE)), 1)
    assert init["session"]["instructions"] == "Hi"
    assert base64.b64decode(init["session"]["ref_audio"]) == VOICE
    assert _sent(SessionInit(), 1)["session"]["instructions"]  # the schema wants one
    assert "input_id" not in _sent(InputAppend(audio=UNIT, input_id="in_1"), 1)


def test_a_spoken_answer_is_asked_for_in_the_fields_of_the_vendor() -> None:
    tts = _sent(ChatAppend(messages=[ChatMessage("user", "Hello")], speak=True, voice=VOICE))["input"]["tts"]
    assert tts == {"enabled": True, "ref_audio_data": base64.b64encode(VOICE).decode()}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.001, -1.001, 32767.0])
def test_samples_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(InvalidInputError, match=r"NaN or infinite|between -1 and 1"):
        Codec().encode(InputAppend(audio=_floats(0.0, bad)))


_BAD: list[tuple[ClientEvent, str]] = [
    (InputAppend(audio=b""), "16000"),
    (InputAppend(audio=UNIT[:-4]), "16000"),
    (InputAppend(audio=UNIT + UNIT), "16000"),
    (InputAppend(audio=UNIT, video_frames=(b"\x89PNG",)), "JPEG"),
    (InputAppend(audio=UNIT, max_slice_nums=0), "max_slice_nums"),
    (InputAppend(audio=UNIT, max_slice_nums=10), "max_slice_nums"),
    (InputAppend(audio=UNIT, video_frames=(JPEG,), max_slice_nums=(1, 2)), "2 numbers for 1 frames"),
    (InputAppend(audio=UNIT, extra={"messages": []}), "messages"),
    (InputAppend(audio=UNIT, input_id="a", extra={"input_id": "b"}), "twice"),
    (SessionInit(voice=Voice(ref_audio=b"")), "empty"),
    (SessionInit(voice=Voice(ref_audio=b"RIFF1234WAVE")), "WAV file"),
    (SessionInit(voice=Voice(ref_audio=b"123")), "float32"),
    (SessionInit(config={"temperature": "hot"}), "temperature"),
    (SessionInit(config={"temperature": 2.5}), "at most 2"),
    (SessionInit(config={"length_penalty": 0}), "length_penalty"),
    (SessionInit(config={"generate_audio": 1}), "True or False"),
    (SessionInit(config={"ls_mode": "maybe"}), "'explicit' or 'implicit'"),
    (SessionInit(config={"sample_rate": 24_000}), "sample_rate"),
    (SessionInit(config={"new": math.nan}), "no JSON"),
    (SessionInit(config={"new": object()}), "no JSON"),
    (SessionInit(system_prompt="\ud800"), "no JSON"),
    (ChatAppend(messages=[]), "messages"),
    (ChatAppend(messages=[ChatMessage("user", [ChatPart(type="image")])]), "no data"),
    (ChatAppend(messages=[ChatMessage("user", [ChatPart(type="audio", data=b"RIF")])]), "float32"),
    (ChatAppend(messages=[ChatMessage("user", "x")], max_new_tokens=0), "max_new_tokens"),
]


@pytest.mark.parametrize(("event", "says"), _BAD, ids=lambda value: repr(value)[:50])
def test_what_a_server_would_end_the_session_for_is_refused(event: ClientEvent, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        Codec().encode(event)


@pytest.mark.parametrize("generation", [0, 3, None])
def test_there_are_two_generations(generation: Any) -> None:
    with pytest.raises(ConfigurationError, match="1 or 2"):
        Codec(generation=generation)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from([*_CONFIG, "generate_audio", "top_p", "chunk_ms", "sample_rate"]) | st.text(), _JSON, max_size=4
    )
)
def test_any_config_is_either_valid_or_refused(config: dict[str, Any]) -> None:
    try:
        text = Codec().encode(SessionInit(config=config))
    except InvalidInputError:
        return
    check_sent(text, 2)
