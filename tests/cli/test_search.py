"""`minicpm search`: what fits, what the model is shown, and what is written where."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from minicpm_core.captions.ranking import ranked, words_of
from tests.cli.support import ESCAPE, Ran
from tests.core.media.pdfs import document, text
from tests.langchain.conftest import png

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from minicpm_core.emulator import EmulatorServer
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory
    from tests.cli.support import Terminal


@pytest.fixture
def folder(tmp_path: Path, minicpm: Callable[..., Ran], served: EmulatorServer) -> Path:
    """An indexed folder."""
    for colour, size in (("red", (40, 30)), ("green", (30, 40)), ("blue", (50, 50))):
        (tmp_path / f"{size[0]}.png").write_bytes(png(size, colour))
    (tmp_path / "d.pdf").write_bytes(document(text(b"one")))
    assert minicpm("index", str(tmp_path)).code == 0
    served.reset()
    return tmp_path


def content(server: EmulatorServer) -> list[dict[str, Any]]:
    """The parts of the one question that a server received."""
    (body,) = [request.body for request in server.requests if request.method == "POST"]
    found: list[dict[str, Any]] = body["messages"][0]["content"]
    return found


class TestHits:
    def test_the_list_alone_asks_nothing(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        ran = minicpm("search", "--list", "something blue", str(folder))
        assert ran.code == 0
        (line,) = ran.out.splitlines()
        place, caption = line.split("\t")
        assert place == str(folder / "50.png")
        assert "plain blue square" in caption
        assert served.requests == []

    def test_no_more_than_asked_for(self, minicpm: Callable[..., Ran], folder: Path) -> None:
        assert len(minicpm("search", "--list", "a rectangle", str(folder)).out.splitlines()) == 2
        assert len(minicpm("search", "--list", "a rectangle", str(folder), "--hits", "1").out.splitlines()) == 1

    def test_file_names_count_too(self, minicpm: Callable[..., Ran], folder: Path) -> None:
        assert "d.pdf, page 1" in minicpm("search", "--list", "the pdf", str(folder)).out

    def test_nothing_fits(self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path) -> None:
        ran = minicpm("search", "zebras", str(folder))
        assert (ran.code, ran.out) == (0, "")
        assert "No caption has a word of the question" in ran.err
        assert served.requests == []


class TestAnswer:
    def test_the_model_is_shown_the_best_pictures_with_their_names(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        ran = minicpm("search", "Which rectangle is green?", str(folder), "--pictures", "2")
        assert ran.code == 0
        assert ran.out.startswith("I received 2 pictures. Picture 1: A plain green portrait rectangle, 30 x 40")
        parts = content(served)
        assert [part["type"] for part in parts] == ["text", "text", "image_url", "text", "image_url", "text"]
        assert [parts[1]["text"], parts[3]["text"]] == ["[30.png]", "[40.png]"]
        assert parts[-1]["text"] == "Which rectangle is green?"

    def test_hits_go_to_standard_error_so_that_a_pipe_gets_the_answer_alone(
        self, minicpm: Callable[..., Ran], folder: Path
    ) -> None:
        ran = minicpm("search", "blue", str(folder))
        assert str(folder / "50.png") in ran.err
        assert str(folder) not in ran.out
        assert ESCAPE not in ran.out + ran.err

    def test_json_has_hits_and_answer(self, minicpm: Callable[..., Ran], folder: Path) -> None:
        ran = minicpm("search", "blue", str(folder), "--json")
        found = json.loads(ran.out)
        assert ran.err == ""
        assert found["hits"][0]["path"] == str(folder / "50.png")
        assert found["hits"][0]["score"] > 0
        assert "plain blue square" in found["answer"]["text"]

    @pytest.mark.parametrize(("context", "shown"), [(32_768, 8), (1500, 8), (700, 6), (400, 1)])
    def test_as_many_pictures_as_the_context_holds_are_shown_made_smaller_where_need_be(
        self,
        minicpm: Callable[..., Ran],
        minicpm_emulator_factory: EmulatorFactory,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        context: int,
        shown: int,
    ) -> None:
        for number in range(8):
            (tmp_path / f"{number}.png").write_bytes(png((1200 + number, 1200), "blue"))
        server = minicpm_emulator_factory(dialect="vllm", context=context)
        monkeypatch.setenv("MINICPM_BASE_URL", server.base_url)
        assert minicpm("index", str(tmp_path), "--emulator").code == 0
        server.reset()
        ran = minicpm("search", "blue", str(tmp_path), "--hits", "8", "--pictures", "8", "--max-tokens", "200")
        assert ran.code == 0, ran.err
        assert sum(part["type"] == "image_url" for part in content(server)) == shown
        assert ran.err.count("Not shown to the model") == 8 - shown

    def test_a_question_that_leaves_no_room_is_refused_before_it_is_asked(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        ran = minicpm("search", "blue", str(folder), "--max-tokens", "40000")
        assert ran.code == 2
        assert "lower --max-tokens" in ran.err
        assert not [request for request in served.requests if request.method == "POST"]

    def test_a_picture_that_is_gone_is_passed_over(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        (folder / "30.png").unlink()
        ran = minicpm("search", "Which rectangle is green?", str(folder))
        assert ran.code == 0
        assert "Not shown to the model" in ran.err
        assert sum(part["type"] == "image_url" for part in content(served)) == 1

    def test_all_are_gone(self, minicpm: Callable[..., Ran], folder: Path) -> None:
        (folder / "50.png").unlink()
        ran = minicpm("search", "blue", str(folder))
        assert ran.code == 2
        assert "run minicpm index again" in ran.err

    def test_captions_of_the_emulator_are_told_apart(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, tmp_path: Path
    ) -> None:
        (tmp_path / "a.png").write_bytes(png(colour="blue"))
        minicpm("index", str(tmp_path), "--emulator")
        assert "The captions are the emulator's" in minicpm("search", "blue", str(tmp_path)).err

    def test_without_a_key_the_emulator_answers(
        self, minicpm: Callable[..., Ran], folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MINICPM_BASE_URL")
        ran = minicpm("search", "blue", str(folder))
        assert "plain blue square" in ran.out
        assert "emulator answers" in ran.err


class TestUsage:
    def test_without_an_index_it_says_how_to_make_one(self, minicpm: Callable[..., Ran], tmp_path: Path) -> None:
        ran = minicpm("search", "x", str(tmp_path))
        assert ran.code == 2
        assert f"minicpm index {tmp_path}" in " ".join(ran.err.split())

    def test_an_empty_question(self, minicpm: Callable[..., Ran], tmp_path: Path) -> None:
        assert minicpm("search", " ", str(tmp_path)).code == 2

    def test_the_folder_is_the_current_one(
        self, minicpm: Callable[..., Ran], folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(folder)
        assert "50.png" in minicpm("search", "--list", "blue").out


class TestTerminal:
    def test_thumbnails_where_there_are_colours(self, terminal: Callable[..., Terminal], folder: Path) -> None:
        shown = terminal("search", "--list", "blue", str(folder), COLORTERM="truecolor")
        assert shown.end() == 0
        assert "▀" in shown.raw
        assert "48;2;0;0;255" in shown.raw
        assert "1  50.png" in shown.lines

    def test_a_picture_too_large_to_decode_has_no_thumbnail(
        self, terminal: Callable[..., Terminal], folder: Path
    ) -> None:
        Image.new("1", (14_000, 13_000)).save(folder / "50.png")  # since it was indexed
        shown = terminal("search", "--list", "blue", str(folder), COLORTERM="truecolor")
        assert shown.end() == 0, shown.raw
        assert "▀" not in shown.raw
        assert "1  50.png" in shown.lines

    def test_paths_where_there_are_none(self, terminal: Callable[..., Terminal], folder: Path) -> None:
        shown = terminal("search", "--list", "blue", str(folder), NO_COLOR="1")
        assert shown.end() == 0
        assert "▀" not in shown.raw
        assert "50.png" in shown.raw

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
    def test_names_cannot_move_the_cursor(
        self, terminal: Callable[..., Terminal], minicpm: Callable[..., Ran], folder: Path
    ) -> None:
        (folder / "evil\x1b[2Jname.png").write_bytes(png((60, 60), "yellow"))
        minicpm("index", str(folder))
        shown = terminal("search", "--list", "yellow", str(folder))
        assert shown.end() == 0
        assert "\x1b[2J" not in shown.raw
        assert "\x1b[2J" not in minicpm("search", "--list", "yellow", str(folder)).out


class TestRanking:
    def test_more_of_the_rarer_words_come_first(self) -> None:
        texts = ["a red car", "a red bus", "a blue bus", "a red car and a dog"]
        assert next(at for at, _ in ranked("red dog", texts)) == 3
        assert 2 not in [at for at, _ in ranked("red dog", texts)]

    def test_plurals_and_cases(self) -> None:
        assert [at for at, _ in ranked("CATS?", ["a dog", "one cat", "glass"])] == [1]
        assert words_of("glass buses") == ["glass", "buse"]

    def test_scripts_that_do_not_part_words(self) -> None:
        assert [at for at, _ in ranked("红色的车", ["一只猫", "红车", "狗"])] == [1]

    @pytest.mark.parametrize(
        ("question", "texts"), [("", ["a cat"]), ("the", ["the cat"]), ("x", []), ("x", ["", "?"])]
    )
    def test_nothing_to_go_by(self, question: str, texts: list[str]) -> None:
        assert ranked(question, texts) == []
