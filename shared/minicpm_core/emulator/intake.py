"""Content parts that are media: which a server and a model take, and how they are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from minicpm_core.emulator.fields import wrong_type
from minicpm_core.emulator.loading import decoded, payload
from minicpm_core.emulator.pictures import Picture, look_at
from minicpm_core.emulator.recordings import Recording, listen
from minicpm_core.emulator.refusals import Refusal
from minicpm_core.emulator.values import as_object
from minicpm_core.emulator.videos import Video, leaf_through, sampling_of, watch
from minicpm_core.models import card_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from minicpm_core.emulator.dialects import Dialect
    from minicpm_core.emulator.values import Object

Medium: TypeAlias = Picture | Video | Recording

_FRAMES = "video/jpeg"


@dataclass(frozen=True, slots=True)
class Intake:
    """What decides over the media of a request.

    Attributes:
        dialect: Which shapes and formats are taken.
        model: Whose formula counts tokens, and who can hear.
        fields: The request: a field of it may say how videos are sampled.
    """

    dialect: Dialect
    model: str
    fields: Object

    def take(self, part: Object, param: str) -> Medium | None:
        """Look at a part, if it is of a kind that is a medium.

        Args:
            part: Of a message.
            param: Its path, for a refusal.

        Raises:
            Refusal: Servers of this kind do not take it, the model does not, or it is broken.
        """
        kind = part.get("type")
        found = _TAKERS.get(kind) if isinstance(kind, str) else None
        return found(self, part, param) if found else None

    def image_url(self, part: Object, param: str) -> Picture:
        """A picture."""
        return look_at(_text(part, "image_url", "url", param, ("detail",)), self.dialect, self.model)

    def video_url(self, part: Object, param: str) -> Video:
        """A video file, or a list of frames."""
        shape = self.dialect.loader.video
        if shape not in {"mp4", "jpeg_frames"}:
            raise _not_taken("video")
        url = _text(part, "video_url", "url", param)
        sampling = sampling_of(self.fields, part["video_url"], f"{param}.video_url", self.dialect.loader)
        media_type, text = payload(url, "video")
        if media_type != _FRAMES:
            return watch(decoded(text), sampling, self.model)
        if shape != "jpeg_frames":
            raise Refusal("bad_video", f"Failed to load video: {self.dialect.title} does not take lists of frames.")
        return leaf_through(text, sampling, self.model)

    def input_video(self, part: Object, param: str) -> Video:
        """A video file in llama-server's shape."""
        backend = self.dialect.loader
        if backend.video != "input_video":
            raise _not_taken("video")
        data = _text(part, "input_video", "data", param)
        sampling = sampling_of(self.fields, part["input_video"], f"{param}.input_video", backend)
        return watch(decoded(data), sampling, self.model)

    def audio_url(self, part: Object, param: str) -> Recording:
        """A recording in a data URL."""
        self._check_hears("audio_url")
        _, text = payload(_text(part, "audio_url", "url", param), "recording")
        return listen(decoded(text), self.dialect, self.model)

    def input_audio(self, part: Object, param: str) -> Recording:
        """A recording in OpenAI's shape. Its first bytes decide on its format, not what `format` says."""
        self._check_hears("input_audio")
        data = _text(part, "input_audio", "data", param, ("format",))
        return listen(decoded(data), self.dialect, self.model)

    def _check_hears(self, shape: str) -> None:
        taken = _AUDIO_SHAPES.get(self.dialect.loader.audio or "", ())
        if shape not in taken or "audio" not in card_for(self.model).modalities:
            raise _not_taken("audio")


_AUDIO_SHAPES = {"audio_url": ("audio_url", "input_audio"), "input_audio": ("input_audio",)}
"""What a server takes beside the shape of its row: vLLM knows OpenAI's too."""

_TAKERS: dict[str, Callable[[Intake, Object, str], Medium]] = {
    "image_url": Intake.image_url,
    "video_url": Intake.video_url,
    "input_video": Intake.input_video,
    "audio_url": Intake.audio_url,
    "input_audio": Intake.input_audio,
}


def _not_taken(media: str) -> Refusal:
    said = f"At most 0 {media}(s) may be provided in one prompt. (parameter={media})"
    return Refusal("media_kind", said, param=media, media=media)


def _text(part: Object, outer: str, inner: str, param: str, optional: tuple[str, ...] = ()) -> str:
    """A text inside an object of a part.

    Raises:
        Refusal: There is no such object, or no such text in it, or something else where text may be.
    """
    holder = as_object(part.get(outer))
    if holder is None:
        raise wrong_type(f"{param}.{outer}", part.get(outer), "object")
    for name in optional:
        if not isinstance(holder.get(name, ""), str):
            raise wrong_type(f"{param}.{outer}.{name}", holder[name], "string")
    text: Any = holder.get(inner)
    if not isinstance(text, str):
        raise wrong_type(f"{param}.{outer}.{inner}", text, "string")
    return text
