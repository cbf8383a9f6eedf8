"""How a client is set: what is not given takes its default, and what cannot be is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from minicpm_core.config import ClientConfig
from minicpm_core.errors import ConfigurationError, InvalidInputError
from minicpm_core.media.limits import DEFAULT_LIMITS, MediaLimits
from minicpm_core.media.settings import MEDIA_FIELDS, MediaSettings
from minicpm_core.parts import VideoSampling


def test_what_is_missing_or_none_takes_its_default() -> None:
    assert MediaSettings.create() == MediaSettings() == MediaSettings.create(**dict.fromkeys(MEDIA_FIELDS))


def test_the_defaults_are_those_that_are_documented() -> None:
    settings = MediaSettings()
    assert (settings.image_detail, settings.image_quality, settings.image_frames) == ("auto", 90, "first")
    assert (settings.media_urls, settings.media_hosts, settings.document_pages) == ("fetch", frozenset(), 20)
    assert settings.media_limits == DEFAULT_LIMITS == MediaLimits(max_bytes=64 * 1024 * 1024, max_pixels=100_000_000)
    assert settings.video_sampling == VideoSampling(num_frames=32, max_pixels=448 * 448)


def test_dictionaries_are_taken_for_what_has_fields() -> None:
    settings = MediaSettings.create(media_limits={"max_bytes": 5}, video_sampling={"fps": 2, "start": 1})
    assert settings.media_limits == MediaLimits(max_bytes=5)
    assert settings.video_sampling == VideoSampling(fps=2, start=1)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("Media.Example.com", {"media.example.com"}),
        ([" a.example ", ".b.example"], {"a.example", ".b.example"}),
        (("10.0.0.7:8080",), {"10.0.0.7:8080"}),
        (frozenset[str](), set[str]()),
    ],
)
def test_hosts_are_one_or_many_in_any_case(given: Any, taken: set[str]) -> None:
    assert MediaSettings.create(media_hosts=given).media_hosts == taken


WRONG: list[tuple[str, Any, str]] = [
    ("image_detail", "fine", "image_detail must be one of auto, low, high, original, not 'fine'"),
    ("image_detail", ["low"], "image_detail must be one of"),
    ("image_frames", "second", "image_frames must be one of first, all"),
    ("media_urls", "allow", "media_urls must be one of fetch, pass, refuse, not 'allow'"),
    ("media_urls", True, "media_urls must be one of"),
    ("image_quality", 0, "image_quality must be a whole number from 1 to 100"),
    ("image_quality", 101, "image_quality must be a whole number from 1 to 100"),
    ("image_quality", True, "image_quality must be a whole number from 1 to 100"),
    ("image_quality", 90.0, "image_quality must be a whole number from 1 to 100"),
    ("document_pages", 0, "document_pages must be a whole number from 1."),
    ("document_pages", "20", "document_pages must be a whole number from 1."),
    ("media_limits", 5, "media_limits must be MediaLimits"),
    ("media_limits", {"max_hours": 5}, "media_limits takes numbers for max_bytes, max_pixels"),
    ("media_limits", MediaLimits(max_bytes=0), "max_bytes of media_limits must be a whole number from 1."),
    ("media_limits", {"max_pixels": "many"}, "max_pixels of media_limits must be a whole number from 1."),
    ("video_sampling", 2, "video_sampling must be VideoSampling"),
    ("video_sampling", {"frames": 3}, "video_sampling takes numbers for fps, num_frames, max_pixels, start, end, not"),
    ("video_sampling", {"fps": "2"}, "video_sampling takes numbers for fps"),
    ("media_hosts", 7, "media_hosts must be host names or addresses"),
    ("media_hosts", [b"a.example"], "media_hosts must be host names or addresses"),
    ("media_hosts", [""], "media_hosts must be host names or addresses"),
    ("media_hosts", "https://a.example", "no URLs"),
    ("media_hosts", "a b", "cannot be an allowed host"),
    ("media_progress", 3, "media_progress must be callable"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_what_cannot_be_is_refused_by_name(name: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MediaSettings.create(**{name: value})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "sampling",
    [
        {"fps": 0},
        {"fps": -1},
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"num_frames": 0},
        {"max_pixels": 0},
        {"start": -1},
        {"start": float("inf")},
        {"end": 0},
        {"start": 2, "end": 2},
        {"end": float("nan")},
    ],
    ids=str,
)
def test_impossible_sampling_is_refused_wherever_it_is_given(sampling: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        VideoSampling(**sampling)
    with pytest.raises(InvalidInputError):
        MediaSettings.create(video_sampling=sampling)


def test_a_client_takes_each_setting_by_its_name() -> None:
    def told(what: str, done: float) -> None: ...

    config = ClientConfig.create(image_detail="low", media_hosts=["a.example"], media_progress=told)
    assert config.media == MediaSettings(image_detail="low", media_hosts=frozenset({"a.example"}))
    assert config.media.media_progress is told
    with pytest.raises(TypeError, match="image_details"):
        ClientConfig.create(image_details="low")


def test_a_callback_is_not_shown() -> None:
    def told(what: str, done: float) -> None: ...

    assert "told" not in repr(MediaSettings.create(media_progress=told))
