"""`minicpm ask`."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core.cli.frameworks import FRAMEWORKS
from tests.cli.support import ESCAPE, Ran
from tests.media.samples import sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from minicpm_core.emulator import EmulatorServer
    from minicpm_core.emulator.pytest_plugin import EmulatorFactory
    from tests.media.matrix import Medium


def asked(server: EmulatorServer) -> dict[str, Any]:
    """The body of the last question that a server received."""
    body: dict[str, Any] = server.requests[-1].body
    return body


def test_the_answer_alone_goes_to_standard_output(minicpm: Callable[..., Ran], served: EmulatorServer) -> None:
    ran = minicpm("ask", "Count to 5.")
    assert ran == Ran(0, "1 2 3 4 5\n", "")
    assert asked(served)["messages"] == [{"role": "user", "content": "Count to 5."}]


def test_thoughts_go_to_standard_error(minicpm: Callable[..., Ran], served: EmulatorServer) -> None:
    ran = minicpm("ask", "--thinking", "Count to 5.")
    assert (ran.code, ran.out) == (0, "1 2 3 4 5\n")
    assert "1 message" in ran.err
    assert ESCAPE not in ran.err


def test_pictures_arrive_in_their_order_and_after_the_question(
    minicpm: Callable[..., Ran], served: EmulatorServer, cat: Path, rocket: Path
) -> None:
    ran = minicpm("ask", str(rocket), str(cat), "Compare them.")
    assert ran.code == 0
    assert "Picture 1: What looks like a photo, landscape, 640 x 427" in ran.out
    assert "Picture 2: What looks like a photo, landscape, 451 x 300" in ran.out, "turned upright"
    content = asked(served)["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "image_url"]


@pytest.mark.parametrize(("medium", "kind"), [("video", "video_url"), ("PDF", "image_url")])
def test_other_media_are_told_by_their_first_bytes(
    minicpm: Callable[..., Ran], served: EmulatorServer, tmp_path: Path, medium: Medium, kind: str
) -> None:
    path = tmp_path / "unnamed"
    path.write_bytes(sample(medium).data)
    ran = minicpm("ask", str(path), "Describe it.")
    assert ran.code == 0, ran.err
    assert asked(served)["messages"][0]["content"][-1]["type"] == kind


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_framework_asks_the_same_and_tells_the_same(
    framework: str, minicpm: Callable[..., Ran], served: EmulatorServer, cat: Path
) -> None:
    """Also the same as the others: the expected values stand here."""
    options = ("--thinking", "--temperature", "0.5", "--max-tokens", "500", "--json", "--framework", framework)
    ran = minicpm("ask", str(cat), "Describe this photograph.", *options)
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert ran.out.count("\n") == 1
    assert told["model"] == "MiniCPM-V-4.6-Thinking"
    assert told["text"].startswith("What looks like a photo, landscape, 451 x 300 pixels: mostly brown")
    assert told["reasoning"].startswith("I received 1 message.")
    assert told["finish_reason"] == "stop"
    usage = told["usage"]
    assert usage["prompt_tokens"] > 75
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["reasoning_tokens"] < usage["completion_tokens"]
    assert 0 <= told["seconds_to_first_token"] <= told["seconds"]
    body = asked(served)
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.5, 500, True)
    assert body["chat_template_kwargs"] == {"enable_thinking": True}
    text, picture = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "Describe this photograph."}
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")


def test_a_picture_can_come_from_standard_input(
    minicpm: Callable[..., Ran], served: EmulatorServer, rocket: Path
) -> None:
    ran = minicpm("ask", "-", "Describe it.", stdin=rocket.read_bytes())
    assert ran.code == 0
    url = asked(served)["messages"][0]["content"][1]["image_url"]["url"]
    assert base64.b64decode(url.partition(",")[2]) == rocket.read_bytes()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_bytes_and_data_urls_work_through_every_framework(
    framework: str, minicpm: Callable[..., Ran], served: EmulatorServer, rocket: Path
) -> None:
    url = "data:image/jpeg;base64," + base64.b64encode(rocket.read_bytes()).decode()
    ran = minicpm("ask", "-", url, "Compare.", "--framework", framework, stdin=rocket.read_bytes())
    assert ran.code == 0, ran.err
    assert ran.out.count("640 x 427") == 2


def test_the_question_can_come_from_standard_input(minicpm: Callable[..., Ran], served: EmulatorServer) -> None:
    assert minicpm("ask", "-", stdin=b"Count to 3.\n") == Ran(0, "1 2 3\n", "")


def test_a_question_may_begin_with_a_dash(minicpm: Callable[..., Ran], served: EmulatorServer) -> None:
    assert minicpm("ask", "--", "- Count to 3.") == Ran(0, "1 2 3\n", "")


def test_a_model_that_is_offered_is_asked_where_nobody_names_one(
    minicpm: Callable[..., Ran], minicpm_emulator_factory: EmulatorFactory
) -> None:
    offered = ["llama3:8b", "openbmb/MiniCPM-V-4.6-Thinking", "openbmb/MiniCPM-V-4.6"]
    server = minicpm_emulator_factory(models=offered)
    assert minicpm("ask", "Count to 3.", "--base-url", server.base_url).code == 0
    assert asked(server)["model"] == "openbmb/MiniCPM-V-4.6"
    assert minicpm("ask", "Count to 3.", "--base-url", server.base_url, "--thinking").code == 0
    assert asked(server)["model"] == "openbmb/MiniCPM-V-4.6-Thinking"
    assert minicpm("ask", "Count to 3.", "--base-url", server.base_url, "--model", "llama3:8b").code == 0
    assert asked(server)["model"] == "llama3:8b"


def test_a_cut_answer_says_so_on_standard_error(minicpm: Callable[..., Ran], served: EmulatorServer) -> None:
    ran = minicpm("ask", "Count to 50.", "--max-tokens", "3")
    assert (ran.code, ran.out) == (0, "1 2 3\n")
    assert "cut at the token limit" in ran.err


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("cat.jpg",), b"", "There is no question after 'cat.jpg'."),
        (("nothing.jpg", "What is this?"), b"", "There is no file 'nothing.jpg'."),
        (("What", "is", "this?"), b"", "There is no file 'What'."),
        (("x" * 5000, "What is this?"), b"", "There is no file 'xxx"),
        ((".", "What is this?"), b"", "'.' is a folder."),
        (("-", "-"), b"", "Standard input (-) can be read once"),
        (("-",), b" \n", "The question is empty."),
        (("-", "What is this?"), b"", "empty"),
        (("-", "What is this?"), b"just words", "it looks like plain text"),
        (("http://127.0.0.1:9/cat.jpg", "What is this?"), b"", "127.0.0.1"),
        (("file:///etc/passwd", "What is this?"), b"", "must begin with data:"),
        (("cat.jpg", "What is this?", "--temperature", "nan"), b"", "temperature must be 0 or more"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_one_line_and_not_sent(
    arguments: tuple[str, ...],
    stdin: bytes,
    said: str,
    minicpm: Callable[..., Ran],
    served: EmulatorServer,
    cat: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "cat.jpg").write_bytes(cat.read_bytes())
    monkeypatch.chdir(tmp_path)
    ran = minicpm("ask", *arguments, stdin=stdin)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert [request for request in served.requests if request.method == "POST"] == []
