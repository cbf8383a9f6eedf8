"""How media are prepared, as a client is set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, cast, get_args

from minicpm_core.errors import ConfigurationError
from minicpm_core.media.limits import DEFAULT_LIMITS, MediaLimits
from minicpm_core.parts import Detail, VideoSampling

UrlPolicy: TypeAlias = Literal["fetch", "pass", "refuse"]
FramePolicy: TypeAlias = Literal["first", "all"]
MediaProgress: TypeAlias = Callable[[str, float], None]
"""Is told what is being prepared (such as `video`) and how much of it is done, from 0 to 1; from any thread."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "image_detail": get_args(Detail),
    "image_frames": get_args(FramePolicy),
    "media_urls": get_args(UrlPolicy),
}
_MOST_QUALITY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSettings:
    """How media are prepared. Make one with `MediaSettings.create`, which checks.

    Attributes:
        image_detail: `auto` sends no more pixels than the model looks at (9 tiles of 448 x 448), `low` one tile,
            `high` an overview and cut-outs of up to 36 tiles, `original` the file as it is. A picture's own `detail`
            wins.
        image_quality: Of JPEG, 1 to 100, where a picture has to be encoded.
        image_frames: Of an animation or a TIFF of several pages: the first, or all (up to 32).
        media_urls: What is done with http(s) URLs: `fetch` by this client, with addresses checked; `pass` to servers
            that fetch themselves; `refuse`.
        media_hosts: Hosts that may be fetched from although their addresses are private: names, `.example.com` for
            all below it, addresses, each perhaps with a port.
        media_limits: Bounds on each medium.
        video_sampling: Which frames of videos are sent.
        document_pages: The most pages of one document; a longer one is an error unless pages are chosen.
        media_progress: Called while something long is prepared.
    """

    image_detail: Detail = "auto"
    image_quality: int = 90
    image_frames: FramePolicy = "first"
    media_urls: UrlPolicy = "fetch"
    media_hosts: frozenset[str] = frozenset()
    media_limits: MediaLimits = DEFAULT_LIMITS
    video_sampling: VideoSampling = field(default_factory=VideoSampling)
    document_pages: int = 20
    media_progress: MediaProgress | None = field(default=None, repr=False, compare=False)

    @classmethod
    def create(cls, **given: Any) -> MediaSettings:
        """Settings from arguments; one that is `None` or missing takes its default.

        Raises:
            ConfigurationError: A setting cannot be.
            InvalidInputError: The values of `video_sampling` are impossible.
        """
        settings = {name: value for name, value in given.items() if value is not None}
        for name, allowed in _CHOICES.items():
            if name in settings and settings[name] not in allowed:
                raise ConfigurationError(f"{name} must be one of {', '.join(allowed)}, not {settings[name]!r}.")
        if "media_hosts" in settings:
            settings["media_hosts"] = _hosts(settings["media_hosts"])
        for name, kind in (("media_limits", MediaLimits), ("video_sampling", VideoSampling)):
            if isinstance(settings.get(name), dict):
                settings[name] = made_of(kind, name, settings[name])
            if not isinstance(settings.get(name, kind()), kind):
                raise ConfigurationError(f"{name} must be {kind.__name__}(…), not {type(settings[name]).__name__}.")
        limits = settings.get("media_limits", DEFAULT_LIMITS)
        _check_whole("image_quality", settings.get("image_quality", 1), most=_MOST_QUALITY)
        _check_whole("document_pages", settings.get("document_pages", 1))
        for name in ("max_bytes", "max_pixels"):
            _check_whole(f"{name} of media_limits", getattr(limits, name))
        if isinstance(limits.max_seconds, bool) or not limits.max_seconds > 0:
            raise ConfigurationError("max_seconds of media_limits must be a number above 0.")
        if not callable(settings.get("media_progress", print)):
            raise ConfigurationError("media_progress must be callable with what is prepared and how much is done.")
        return cls(**settings)


MEDIA_FIELDS = tuple(field.name for field in fields(MediaSettings))
"""The names of all settings."""


def _check_whole(name: str, value: Any, *, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most and value > most):
        raise ConfigurationError(f"{name} must be a whole number from 1{f' to {most}' if most else ''}.")


def made_of(kind: type[Any], name: str, given: Mapping[str, Any]) -> Any:
    """A setting that has fields, from their names and values.

    Args:
        kind: `MediaLimits` or `VideoSampling`.
        name: How to call the setting in an error.
        given: The fields; those that are missing take their defaults.

    Raises:
        ConfigurationError: A field is unknown, or a value is of another type.
        InvalidInputError: The values of `VideoSampling` are impossible.
    """
    try:
        return kind(**given)
    except TypeError:  # an unknown field, or a value of another type
        known = ", ".join(field.name for field in fields(kind))
        raise ConfigurationError(f"{name} takes numbers for {known}, not {given!r}.") from None


def _hosts(given: Any) -> frozenset[str]:
    hosts = [given] if isinstance(given, str) else given
    if not isinstance(hosts, Iterable) or not all(
        isinstance(host, str) and host and "/" not in host for host in cast("Iterable[Any]", hosts)
    ):
        raise ConfigurationError("media_hosts must be host names or addresses, such as ['media.example.com'], no URLs.")
    from minicpm_core.media.guard import check_hosts

    found = frozenset(host.strip().lower() for host in cast("Iterable[str]", hosts))
    check_hosts(found)
    return found
