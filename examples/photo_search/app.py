"""Ask about your own pictures, in the browser.

    streamlit run examples/photo_search/app.py -- [FOLDER]

Captions make the pictures findable (BM25, no embedding model); the best of them are shown to the model with the
question.  Which server is asked is set in the environment: MINICPM_API_KEY for the hosted API, or MINICPM_BASE_URL for
a server of your own.  Without either, an emulator is started, which needs no model and says so.
"""

from __future__ import annotations

import atexit
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from album import LARGEST_UPLOAD, MOST_PICTURES, Album, Photo
from asking import Server, Turn, connect, messages
from PIL import Image, ImageOps

from minicpm_core import MiniCPMError
from minicpm_core.captions import CaptionCache

if TYPE_CHECKING:
    from collections.abc import Iterable

SAMPLES = Path(__file__).resolve().parents[1] / "photos"
KINDS = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "pdf"]
SHOWN = 24
_COLUMNS = 4
_THUMBNAIL = (480, 360)
_EARLIER = 4  # turns of the conversation that the model is told of; Streamlit shows texts that stand alone


@st.cache_resource(show_spinner="Looking for a server…")
def server() -> Server:
    """One for all visitors."""
    return connect()


@st.cache_resource
def workshop() -> Path:
    """Where uploads and captions are kept while the app runs; it goes with the app."""
    folder = Path(tempfile.mkdtemp(prefix="photo-search-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@st.cache_data(max_entries=1000, show_spinner=False)
def thumbnail(path: str, page: int | None, changed: int, *, crop: bool) -> bytes:
    """A small picture, upright; `changed` is the file's time, so that one that was replaced is drawn anew."""
    del changed
    photo = next(
        each for each in st.session_state.album.photos if (str(each.page.path), each.page.page) == (path, page)
    )
    with Image.open(io.BytesIO(photo.page.read().data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    top = (0.5, 0.0) if upright.height > upright.width else (0.5, 0.5)  # a page begins at its top
    small = ImageOps.fit(upright, _THUMBNAIL, centering=top) if crop else ImageOps.contain(upright, (960, 960))
    small = ImageOps.expand(small, 1, "#d4d4d8")  # white pages have an edge, too
    written = io.BytesIO()
    small.save(written, "JPEG", quality=85)
    return written.getvalue()


def picture(photo: Photo, *, crop: bool) -> None:
    """Show a picture, or say that it is gone."""
    try:
        changed = photo.page.path.stat().st_mtime_ns
        st.image(thumbnail(str(photo.page.path), photo.page.page, changed, crop=crop), width="stretch")
    except (OSError, MiniCPMError):
        st.warning(f"{photo.name} is not there any more.", icon=":material/broken_image:")


def index(paths: Iterable[Path]) -> None:
    """Caption what is new, with a bar that tells how far it is."""
    album: Album = st.session_state.album
    pages = album.find(paths)
    if not pages:
        return
    bar = st.progress(0.0, f"Reading {len(pages)} pictures…")

    def tell(done: int, name: str) -> None:
        bar.progress(min(1.0, done / len(pages)), f"{done} of {len(pages)}: {name}")

    cache = CaptionCache(workshop() / "captions")
    try:
        album.add(pages, client=server().client, cache=cache, progress=tell)
    except MiniCPMError as error:
        st.session_state.problem = str(error)
    bar.empty()


def sidebar() -> None:
    """Uploads, settings, and what could not be read."""
    album: Album = st.session_state.album
    with st.sidebar:
        st.subheader("Your pictures")
        uploads = st.file_uploader(
            "Add pictures or PDFs",
            KINDS,
            accept_multiple_files=True,
            key=f"uploads{st.session_state.round}",
            max_upload_size=LARGEST_UPLOAD // 1024 // 1024,
        )
        if uploads:
            paths = []
            for upload in uploads:
                try:
                    paths.append(album.keep(upload.name, upload.getvalue()))
                except MiniCPMError as error:
                    album.refused[upload.name] = str(error)
            index(paths)
            st.session_state.round += 1  # an empty uploader, whose files are forgotten
            st.rerun()
        if album.refused:
            with st.expander(f"{len(album.refused)} could not be read", icon=":material/warning:", expanded=True):
                for name, told in album.refused.items():
                    st.markdown(f"**{_plain(name)}**: {_plain(told)}")
        st.subheader("Answers")
        st.slider("Pictures to look at", 1, 6, 3, key="most")
        st.toggle("Think before answering", value=True, key="think")
        if album.photos and st.button("Forget everything", icon=":material/delete:", width="stretch"):
            forget()
            st.rerun()
        st.caption(where())


def where() -> str:
    """Where pictures go."""
    if server().emulated:
        return f"Nothing leaves this machine. Up to {MOST_PICTURES} pictures."
    return (
        f"Pictures stay on the machine that runs this app, but for what is sent to **{_plain(server().host)}**. "
        f"Up to {MOST_PICTURES} pictures."
    )


def header() -> None:
    """What this is, and who answers."""
    st.header("Photo search", anchor=False)
    if server().emulated:
        st.info(
            "**An emulator answers, not a model.** It tells size and colours of what it received. For real answers set "
            "`MINICPM_API_KEY`, or `MINICPM_BASE_URL` for a server of your own, and start again.",
            icon=":material/science:",
        )
    else:
        st.caption(f"{_plain(server().client.config.model)} on {_plain(server().host)}")
    if st.session_state.problem:
        st.error(_plain(st.session_state.problem), icon=":material/error:")
        st.session_state.problem = ""


def welcome() -> None:
    """What to do where there is no picture yet."""
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown("### Ask about your own pictures", text_alignment="center")
        st.markdown(
            "Add some at the left: photographs, screenshots, scans, PDFs. Each is described once, "
            "and can then be found by what it shows.",
            text_alignment="center",
        )
        if st.button("Try it with three photographs", type="primary", icon=":material/photo_library:"):
            index([SAMPLES])
            st.rerun()


def gallery(*, opened: bool) -> None:
    """The pictures, small, with the beginning of their captions."""
    album: Album = st.session_state.album
    count = len(album.photos)
    with st.expander(f"{count} picture{'s' * (count != 1)}", expanded=opened):
        for start in range(0, min(count, SHOWN), _COLUMNS):
            for column, photo in zip(st.columns(_COLUMNS), album.photos[start : start + _COLUMNS], strict=False):
                with column.container(gap="xsmall"):
                    picture(photo, crop=True)
                    st.markdown(f"**{_plain(photo.name)}**", help=_plain(photo.caption))
                    st.caption(_plain(_beginning(photo.caption)))
        if count > SHOWN:
            st.caption(f"… and {count - SHOWN} more, which are found as well.")


def show(turn: Turn) -> None:
    """A turn that is over."""
    with st.chat_message("user", avatar=":material/person:"):
        st.markdown(_plain(turn.question))
    with st.chat_message("assistant", avatar=":material/photo_library:"):
        answer, pictures = st.columns([3, 2], gap="medium")
        with answer:
            if turn.reasoning:
                with st.expander("Thoughts", icon=":material/psychology:"):
                    st.markdown(_plain(turn.reasoning))
            _verdict(turn)
        with pictures:
            looked_at(turn)


def looked_at(turn: Turn) -> None:
    """The pictures of a turn, with their numbers, which are coloured where the answer names them."""
    numbered = list(enumerate(turn.photos, 1))
    across = 1 if len(numbered) == 1 else 2
    for start in range(0, len(numbered), across):
        for column, (number, photo) in zip(st.columns(across), numbered[start : start + across], strict=False):
            with column.container(gap="xsmall"):
                picture(photo, crop=across > 1)
                color = "primary" if number in turn.cited else "gray"
                st.markdown(f":{color}-badge[{number}] {_plain(photo.name)}", help=_plain(photo.caption))


def ask(question: str) -> None:
    """Find pictures, show them, and write the answer as it comes."""
    album: Album = st.session_state.album
    found = album.search(question, most=st.session_state.most)
    turn = Turn(question, found or album.photos[-st.session_state.most :], guessed=not found)
    with st.chat_message("user", avatar=":material/person:"):
        st.markdown(_plain(question))
    with st.chat_message("assistant", avatar=":material/photo_library:"):
        answer, pictures = st.columns([3, 2], gap="medium")
        shown = pictures.empty()
        with shown.container():
            looked_at(turn)
        with answer:
            try:
                stream(turn)
            finally:  # also where the visitor does something else meanwhile
                st.session_state.turns.append(turn)
        with shown.container():  # once more, with what is cited
            looked_at(turn)


def stream(turn: Turn) -> None:
    """Ask, and show thoughts and answer apart while they come."""
    earlier = [each for each in st.session_state.turns if each.text and not each.error][-_EARLIER:]
    thoughts, text = st.empty(), st.empty()
    with text:
        st.markdown(":material/hourglass_top: *Looking at the pictures…*")
    options = {"thinking": True} if st.session_state.think else {}
    try:
        with server().client.stream(messages(turn.question, turn.photos, earlier), options) as deltas:
            for delta in deltas:
                if delta.reasoning:
                    if not turn.reasoning:
                        text.empty()
                    turn.reasoning += delta.reasoning
                    with thoughts.expander("Thinking…", icon=":material/psychology:", expanded=True):
                        st.markdown(_plain(turn.reasoning))
                if delta.text:
                    turn.text += delta.text
                    text.markdown(turn.markdown)
    except MiniCPMError as error:
        turn.error = str(error)
    if turn.reasoning:
        with thoughts.expander("Thoughts", icon=":material/psychology:"):
            st.markdown(_plain(turn.reasoning))
    with text.container():
        _verdict(turn)


def _verdict(turn: Turn) -> None:
    if turn.guessed:
        st.caption("No caption has a word of this question: these are the newest pictures.")
    if turn.text:
        st.markdown(turn.markdown)
    if turn.error:
        st.error(_plain(turn.error), icon=":material/error:")


def forget() -> None:
    """An empty album; uploads are deleted, folders of yours are left as they are."""
    album: Album = st.session_state.album
    for file in album.folder.glob("*"):
        file.unlink()
    st.session_state.album = Album(album.folder)
    st.session_state.turns = []


def _beginning(text: str, length: int = 90) -> str:
    return text if len(text) <= length else f"{text[:length].rsplit(' ', 1)[0]} …"


def _plain(text: str) -> str:
    """Text as it is: no Markdown of a stranger's file name, caption or thought, and no picture from elsewhere."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>!$:#~|" else c for c in text)


def main() -> None:
    """Draw the page."""
    st.set_page_config("Photo search", str(SAMPLES / "cat.jpg"), layout="wide")  # icons of Streamlit's are fetched
    folders = [Path(argument).expanduser() for argument in sys.argv[1:]]
    fresh = "album" not in st.session_state
    if fresh:
        session = Path(tempfile.mkdtemp(dir=workshop()))
        st.session_state.update(album=Album(session), turns=[], round=0, problem="")
        if folders:
            index(folders)
    header()
    sidebar()
    if not st.session_state.album.photos:
        welcome()
        return
    question = st.chat_input("Ask about your pictures")
    gallery(opened=not question and not st.session_state.turns)
    for turn in st.session_state.turns:
        show(turn)
    if question:
        ask(question)


main()
