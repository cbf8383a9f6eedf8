"""`minicpm index`: what is described, what is not described again, and what is left after an interruption."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.captions import find_media
from minicpm_core.cli.catalogue import Catalogue, DamagedCatalogueError
from minicpm_core.errors import ConfigurationError
from tests.cli.support import ESCAPE, Ran
from tests.core.media.pdfs import document, text
from tests.langchain.conftest import png

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from minicpm_core.emulator import EmulatorServer
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory
    from tests.cli.support import Terminal

COLOURS = ("red", "green", "blue")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one in a folder of its own, and a PDF of two pages."""
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    for colour, place in zip(COLOURS, ("a.png", "b.png", "more/c.png"), strict=True):
        (photos / place).write_bytes(png(colour=colour))
    (photos / "d.pdf").write_bytes(document(text(b"one"), text(b"two")))
    (photos / "notes.txt").write_text("no picture", "utf-8")
    return photos


def asked(server: EmulatorServer) -> int:
    return sum(request.method == "POST" for request in server.requests)


def captions(folder: Path) -> dict[str, str]:
    return {entry.label: entry.caption for entry in Catalogue.load(folder).entries}


class TestWhatIsDescribed:
    def test_each_picture_and_page(self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path) -> None:
        ran = minicpm("index", str(folder))
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == f"5 pictures and pages in {folder / '.minicpm'}: 5 described.\n"
        found = captions(folder)
        assert list(found) == ["a.png", "b.png", "d.pdf, page 1", "d.pdf, page 2", "more/c.png"]
        assert "red" in found["a.png"]
        assert asked(served) == 5

    def test_nothing_twice(self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path) -> None:
        minicpm("index", str(folder))
        ran = minicpm("index", str(folder))
        assert ran.out.endswith(": 5 unchanged.\n")
        assert asked(served) == 5

    def test_only_what_is_new_or_has_changed(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        minicpm("index", str(folder))
        (folder / "a.png").write_bytes(png((64, 48), "yellow"))
        (folder / "e.png").write_bytes(png(colour="white"))
        (folder / "b.png").unlink()
        ran = minicpm("index", str(folder))
        assert ran.out == f"5 pictures and pages in {folder / '.minicpm'}: 2 described, 3 unchanged, 1 gone.\n"
        assert asked(served) == 7
        assert "yellow" in captions(folder)["a.png"]
        assert "b.png" not in captions(folder)

    def test_a_file_that_was_moved_is_not_asked_about_again(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        minicpm("index", str(folder))
        (folder / "a.png").rename(folder / "z.png")
        ran = minicpm("index", str(folder))
        assert ran.out.endswith(": 1 known from before, 4 unchanged, 1 gone.\n")
        assert asked(served) == 5

    def test_another_model_describes_everything_anew(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        minicpm("index", str(folder), "--model", "MiniCPM-V-4.6-1B")
        minicpm("index", str(folder), "--model", "MiniCPM-O-4.5-9B")
        assert asked(served) == 10

    def test_the_index_may_be_elsewhere(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path, tmp_path: Path
    ) -> None:
        home = tmp_path / "index"
        assert minicpm("index", str(folder), "--index", str(home)).code == 0
        assert not (folder / ".minicpm").exists()
        assert Catalogue.load(folder, home).folder == folder
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "a.png").write_bytes(png())
        ran = minicpm("index", str(tmp_path / "other"), "--index", str(home))
        assert ran.code == 2
        assert "is of the folder" in ran.err


class TestWithoutAKey:
    def test_the_emulator_answers_and_that_is_said(self, minicpm: Callable[..., Ran], folder: Path) -> None:
        ran = minicpm("index", str(folder))
        assert ran.code == 0
        assert "No key and no server is set, so the emulator answers. It is not a model" in ran.err
        assert Catalogue.load(folder).emulated

    def test_its_captions_are_not_taken_for_a_models(
        self,
        minicpm: Callable[..., Ran],
        folder: Path,
        minicpm_emulator: EmulatorServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        minicpm("index", str(folder))
        monkeypatch.setenv("MINICPM_BASE_URL", minicpm_emulator.base_url)  # as a server of one's own
        ran = minicpm("index", str(folder))
        assert ran.out.endswith(": 5 described.\n")
        assert asked(minicpm_emulator) == 5
        assert not Catalogue.load(folder).emulated


class TestWhatGoesWrong:
    def test_one_picture_does_not_stop_the_others(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        (folder / "a.png").write_bytes(png()[:60])
        (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing")
        ran = minicpm("index", str(folder))
        assert ran.code == 1
        assert "4 described, 2 without a caption" in ran.out
        assert "a.png" in ran.err
        assert "broken.pdf" in ran.err

    def test_a_file_that_goes_while_the_folder_is_looked_through_does_not_stop_the_others(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from minicpm_core.cli import index as module

        def found(*args: Any, **kwargs: Any) -> Any:
            pages = find_media(*args, **kwargs)
            (folder / "a.png").unlink()
            return pages

        monkeypatch.setattr(module, "find_media", found)
        ran = minicpm("index", str(folder))
        assert ran.code == 1
        assert "4 described, 1 without a caption" in ran.out
        assert "a.png: The file cannot be read" in ran.err

    def test_a_caption_that_is_cut_is_told_of_and_asked_for_again(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        cut = minicpm("index", str(folder), "--max-tokens", "3")
        assert cut.code == 1
        assert "5 without a caption" in cut.out
        assert "raise --max-tokens" in cut.err
        assert minicpm("index", str(folder), "--max-tokens", "300").out.endswith(": 5 described.\n")

    def test_what_failed_is_tried_again(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        served.inject("status=400")
        assert minicpm("index", str(folder), "-j", "1").code == 1
        ran = minicpm("index", str(folder))
        assert ran.out.endswith(": 1 described, 4 unchanged.\n")
        assert ran.code == 0

    def test_a_wrong_key_ends_it_at_once(
        self, minicpm: Callable[..., Ran], folder: Path, minicpm_emulator_factory: EmulatorFactory,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        server = minicpm_emulator_factory(api_key="right")
        monkeypatch.setenv("MINICPM_BASE_URL", server.base_url)
        monkeypatch.setenv("MINICPM_BACKEND", "modelbest")
        monkeypatch.setenv("MINICPM_API_KEY", "wrong")
        ran = minicpm("index", str(folder), "-j", "1")
        assert ran.code == 1
        assert asked(server) <= 2, "the one under way, and the one that was begun with it"

    def test_a_folder_without_pictures(self, minicpm: Callable[..., Ran], tmp_path: Path) -> None:
        ran = minicpm("index", str(tmp_path))
        assert ran.code == 2
        assert "no picture and no PDF" in ran.err

    def test_a_damaged_index_is_made_anew_without_asking_twice(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        minicpm("index", str(folder))
        (folder / ".minicpm" / "catalogue.json").write_text("{", "utf-8")
        ran = minicpm("index", str(folder))
        assert "is damaged, and is made anew" in ran.err
        assert ran.out.endswith(": 5 known from before.\n")
        assert asked(served) == 5


class TestTerminal:
    def test_a_bar_shows_how_far_it_is_and_leaves_nothing(
        self, terminal: Callable[..., Terminal], served: EmulatorServer, folder: Path
    ) -> None:
        shown = terminal("index", str(folder))
        assert shown.end() == 0
        assert "5/5" in shown.raw
        assert "5 pictures and pages in" in shown.raw
        assert "\x1b[2K" in shown.raw, "the bar's line is cleared"
        assert "minicpm search" in shown.raw

    @pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_after_ctrl_c_or_sigterm_the_same_command_goes_on(
        self,
        terminal: Callable[..., Terminal],
        minicpm_emulator_factory: EmulatorFactory,
        folder: Path,
        stop: signal.Signals,
        code: int,
    ) -> None:
        many = 30
        for number in range(many):
            (folder / f"n{number:02}.png").write_bytes(png((40 + number, 30)))
        slow = minicpm_emulator_factory(fault="slow=0.2")
        environment = {"MINICPM_BASE_URL": slow.base_url}
        first = terminal("index", str(folder), "-j", "2", **environment)
        first.read_until(r"\b([3-9]|1\d)/35")  # a bar need not show every number
        first.process.send_signal(stop)
        assert first.end() == code
        assert "Stopped." in first.raw
        assert "the same command goes on from here" in " ".join(" ".join(first.lines).split())
        assert "Traceback" not in first.raw
        before = asked(slow)
        assert 3 <= before < 35
        second = terminal("index", str(folder), "-j", "8", **environment)
        assert second.end() == 0
        assert asked(slow) == 35, "nothing lost, nothing repeated"
        assert len(Catalogue.load(folder).entries) == 35


class TestCatalogue:
    @pytest.mark.parametrize(
        "change",
        [
            {"path": "../secret.png"}, {"path": "/etc/passwd"}, {"path": ""},
            {"caption": 7}, {"page": "1"}, {"more": 1},
        ],
    )  # fmt: skip
    def test_an_entry_that_leads_elsewhere_or_is_of_other_types_is_not_believed(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path, change: dict[str, Any]
    ) -> None:
        minicpm("index", str(folder))
        file = folder / ".minicpm" / "catalogue.json"
        found = json.loads(file.read_text("utf-8"))
        found["entries"][0] |= change
        file.write_text(json.dumps(found), "utf-8")
        with pytest.raises(DamagedCatalogueError):
            Catalogue.load(folder)

    def test_folder_and_index_can_be_moved_together(
        self, minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path
    ) -> None:
        minicpm("index", str(folder))
        moved = folder.rename(folder.with_name("moved"))
        catalogue = Catalogue.load(moved)
        assert catalogue.page(catalogue.entries[0]).path.exists()

    def test_without_one_it_says_how_to_make_one(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="minicpm index"):
            Catalogue.load(tmp_path)


def test_pipes_get_no_codes(minicpm: Callable[..., Ran], served: EmulatorServer, folder: Path) -> None:
    ran = minicpm("index", str(folder))
    assert ESCAPE not in ran.out + ran.err
