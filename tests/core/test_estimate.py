"""How long a prompt will be, and whether it fits: said before anything is sent."""

from __future__ import annotations

import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.errors import InvalidInputError, PromptTooLongError
from minicpm_core.media.tokens import audio_tokens, count_image_tokens, video_tokens, visual_tokens
from minicpm_core.parts import AudioPart, FileBody, FramesPart, ImagePart, Part, TextPart, UrlPart, VideoPart
from minicpm_core.protocol.estimate import (
    PER_PROMPT,
    PER_TURN,
    Estimate,
    check_fit,
    estimate_prompt,
    part_tokens,
    text_tokens,
)
from minicpm_core.protocol.request import MiniCPMWarning, ServerTraits
from minicpm_core.types import Message, ToolCall
from tests.core.support import prepare

V46 = "MiniCPM-V-4.6-1B"
OMNI = "MiniCPM-O-4.5-9B"


def picture(width: int = 1280, height: int = 720) -> ImagePart:
    return ImagePart(b"aW1n", "image/jpeg", width, height)


def ask(*parts: Part) -> Message:
    return Message("user", parts)


class TestText:
    @pytest.mark.parametrize(
        ("text", "tokens"),
        [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("你好世", 2), ("你好世界", 3), ("ab你", 2)],
    )
    def test_three_characters_of_ascii_or_one_and_a_half_of_others_make_a_token(self, text: str, tokens: int) -> None:
        assert text_tokens(text) == tokens

    @given(st.text(), st.text())
    def test_more_text_is_never_fewer_tokens(self, one: str, other: str) -> None:
        both = text_tokens(one + other)
        assert max(text_tokens(one), text_tokens(other)) <= both <= text_tokens(one) + text_tokens(other)


class TestMedia:
    def test_each_is_counted_by_the_model_s_own_rule(self) -> None:
        assert part_tokens(picture(), V46) == count_image_tokens((1280, 720), V46)
        assert part_tokens(picture(), OMNI) == count_image_tokens((1280, 720), OMNI)
        assert part_tokens(FramesPart((b"",) * 32, 596, 336), V46) == video_tokens(32, (596, 336), V46)
        assert part_tokens(VideoPart(b"", "video/mp4", 8, 596, 336), V46) == video_tokens(8, (596, 336), V46)
        assert part_tokens(AudioPart(b"", "wav", 2.04), OMNI) == audio_tokens(2.04) == 20

    def test_thirty_two_frames_of_one_tile_cost_2_1k_where_720p_costs_14k(self) -> None:
        assert 32 * visual_tokens((596, 336)) == 2112
        assert 32 * visual_tokens((1280, 720)) == 14_208

    @pytest.mark.parametrize(
        "part",
        [
            VideoPart(FileBody("film.mp4", 10**9), "video/mp4"),
            AudioPart(b"", "mp3"),
            UrlPart("image", "https://example.com/a"),
        ],
        ids=["video", "audio", "url"],
    )
    def test_what_was_not_decoded_is_not_guessed(self, part: Part) -> None:
        assert part_tokens(part, OMNI) == 0


class TestPrompts:
    def test_all_that_the_template_writes_is_counted(self) -> None:
        messages = [
            Message("system", "Be brief."),
            ask(TextPart("What is this?"), picture()),
            Message("assistant", "", tool_calls=(ToolCall("1", "look", '{"at": "sky"}'),)),
        ]
        found = estimate_prompt(messages, V46)
        words = [text_tokens("Be brief."), text_tokens("What is this?"), text_tokens('look {"at": "sky"}')]
        assert found.media == count_image_tokens((1280, 720), V46)
        assert found.text == PER_PROMPT + 3 * PER_TURN + sum(words)
        assert found.total == found.media + found.text
        assert found.media <= found.at_least <= found.total

    def test_the_number_of_a_picture_is_written_into_the_prompt(self) -> None:
        """From the eleventh picture on it has two digits."""
        found = estimate_prompt([ask(*[picture()] * 12)], V46)
        assert found.media == 12 * count_image_tokens((1280, 720), V46) + 2

    def test_nothing_is_nothing(self) -> None:
        assert estimate_prompt([], V46) == Estimate(0, PER_PROMPT, 0)


class TestFit:
    PROMPT = (ask(TextPart("What is this?"), picture()),)
    MEDIA = count_image_tokens((1280, 720), V46)

    def fit(self, window: int | None, wanted: int | None = None) -> str | None:
        return check_fit(self.PROMPT, V46, window=window, wanted=wanted)

    def test_what_cannot_fit_is_an_error_with_the_numbers_and_what_to_do(self) -> None:
        with pytest.raises(PromptTooLongError) as caught:
            self.fit(self.MEDIA)
        error = caught.value
        assert (error.n_ctx, error.n_prompt) == (self.MEDIA, self.MEDIA)
        assert str(error).startswith(f"The prompt has at least {self.MEDIA} tokens, {self.MEDIA} of them for media")
        assert "image_detail='low'" in str(error)
        assert isinstance(error, InvalidInputError)

    def test_what_may_not_fit_is_a_warning(self) -> None:
        total = estimate_prompt(self.PROMPT, V46).total
        assert f"about {total} tokens; {V46} takes {total - 1}" in (self.fit(total - 1) or "")
        assert self.fit(total) is None

    def test_the_answer_counts_too(self) -> None:
        total = estimate_prompt(self.PROMPT, V46).total
        assert f"about {total} tokens and 100 for the answer" in (self.fit(total + 99, 100) or "")
        assert self.fit(total + 100, 100) is None

    def test_where_the_window_is_not_known_nothing_is_said(self) -> None:
        assert self.fit(None, 10**9) is None

    def test_text_alone_is_judged_by_its_length(self) -> None:
        """An error only where no tokenizer could make it fit."""
        words = [Message("user", "word " * 1000)]
        with pytest.raises(PromptTooLongError):
            check_fit(words, V46, window=300, wanted=None)
        assert check_fit(words, V46, window=1500, wanted=None) is not None
        assert check_fit(words, V46, window=20_000, wanted=None) is None

    def test_many_turns_and_tool_calls_count(self) -> None:
        called = Message("assistant", "", tool_calls=(ToolCall("1", "write", '{"text": "' + "word " * 1000 + '"}'),))
        with pytest.raises(PromptTooLongError):
            check_fit([Message("user", "Write."), called], V46, window=300, wanted=None)

    @given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 5000))
    def test_an_error_is_raised_if_and_only_if_the_pictures_alone_fill_the_window(
        self, width: int, height: int, window: int
    ) -> None:
        try:
            check_fit([ask(picture(width, height))], V46, window=window, wanted=None)
        except PromptTooLongError:
            fits = False
        else:
            fits = True
        assert fits == (count_image_tokens((width, height), V46) < window)


class TestRequests:
    """The check where requests are built."""

    PROMPT = TestFit.PROMPT

    def test_the_window_that_the_server_told_wins_over_the_card_s(self) -> None:
        prepare(*self.PROMPT)
        traits = ServerTraits(context_windows={"MiniCPM-V-4.6-Instruct": 100})
        with pytest.raises(PromptTooLongError, match="takes 100"):
            prepare(*self.PROMPT, traits=traits)

    def test_a_close_call_warns_and_is_sent(self) -> None:
        traits = ServerTraits(context_windows={"MiniCPM-V-4.6-Instruct": TestFit.MEDIA + 1})
        with pytest.warns(MiniCPMWarning, match="may not fit"):
            built = prepare(*self.PROMPT, traits=traits)
        assert len(built.request.body) > 0

    def test_max_tokens_is_what_the_answer_takes(self) -> None:
        window = math.ceil(TestFit.MEDIA * 1.5)
        traits = ServerTraits(context_windows={"MiniCPM-V-4.6-Instruct": window})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            prepare(*self.PROMPT, traits=traits)
        with pytest.warns(MiniCPMWarning, match=f"{window} for the answer"):
            prepare(*self.PROMPT, traits=traits, max_tokens=window)
