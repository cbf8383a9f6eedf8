"""Pictures are decoded and measured: what is said of them is true."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw

from minicpm_core.emulator.colours import colour_name
from tests.emulator.support import THINKING, data_url, plain, shown

if TYPE_CHECKING:
    from tests.emulator.conftest import AskerFactory
    from tests.emulator.support import Asker

PHOTOS = "examples/photos"


@pytest.mark.parametrize("colour", ["red", "green", "blue", "white", "black", "yellow", "orange", "purple"])
def test_a_plain_picture_is_called_by_its_colour(asker: Asker, colour: str) -> None:
    said = asker.text([shown("Describe this image.", plain(colour))])
    assert said == f"A plain {colour} square, 64 x 64 pixels. (emulator, not a model)"


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((128, 128, 128), "grey"),
        ((30, 30, 30), "black"),
        ((75, 75, 78), "dark grey"),
        ((211, 211, 211), "light grey"),
        ((245, 245, 220), "beige"),
        ((255, 192, 203), "pink"),
        ((64, 224, 208), "turquoise"),
        ((200, 0, 30), "red"),
        ((0, 128, 128), "turquoise"),
        ((75, 0, 130), "purple"),
        ((255, 20, 147), "pink"),
        ((139, 69, 19), "brown"),
    ],
)
def test_colours_have_their_everyday_names(rgb: tuple[int, int, int], name: str) -> None:
    assert colour_name(*rgb) == name


def test_every_colour_has_a_name() -> None:
    steps = range(0, 256, 17)
    assert all(colour_name(red, green, blue) for red in steps for green in steps for blue in steps)


def test_pictures_are_numbered_in_the_order_they_came_in(asker: Asker) -> None:
    said = asker.text([shown("What do you see?", plain("blue"), plain("red", (90, 30)), plain("green", (30, 90)))])
    assert said.startswith("I received 3 pictures. Picture 1: A plain blue square, 64 x 64 pixels.")
    assert "Picture 2: A plain red landscape rectangle, 90 x 30 pixels." in said
    assert "Picture 3: A plain green portrait rectangle, 30 x 90 pixels." in said


def test_pictures_are_compared_when_that_is_asked(asker: Asker) -> None:
    said = asker.text([shown("Compare the images.", plain("red"), plain("white"))])
    assert "The first is mostly red and the second is mostly white. All have the same size." in said
    assert "The second is the brightest." in said
    said = asker.text([shown("What is the difference?", plain("red", (99, 99)), plain("red"))])
    assert "The first is the largest." in said
    assert "All are equally bright." in said


def test_parts_of_a_picture_are_told_apart(asker: Asker) -> None:
    flag = Image.new("RGB", (60, 60), "white")
    draw = ImageDraw.Draw(flag)
    draw.rectangle((0, 0, 59, 19), fill="red")
    draw.rectangle((0, 40, 59, 59), fill="blue")
    said = asker.text([shown("Describe it.", data_url(flag))])
    assert said.startswith("A flat graphic, square, 60 x 60 pixels: mostly ")
    for share in ("red (33%)", "white (33%)", "blue (33%)"):
        assert share in said
    assert "The top is mostly red, the middle white, the bottom blue." in said


def test_brightness_is_told(asker: Asker) -> None:
    dark, bright = Image.new("L", (64, 64)), Image.new("L", (64, 64))
    dark.putdata([x // 4 for x in range(64)] * 64)
    bright.putdata([230 + x // 4 for x in range(64)] * 64)
    assert "very dark." in asker.text([shown("Describe it.", data_url(dark))])
    assert "very bright." in asker.text([shown("Describe it.", data_url(bright))])


@pytest.mark.parametrize(
    ("photo", "size", "colour"),
    [("coffee", "600 x 400", "brown"), ("cat", "451 x 300", "brown"), ("rocket", "640 x 427", "blue")],
)
def test_real_photographs_look_like_photographs(
    asker: Asker, pytestconfig: pytest.Config, photo: str, size: str, colour: str
) -> None:
    file = pytestconfig.rootpath / PHOTOS / f"{photo}.jpg"
    url = f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"
    said = asker.text([shown("Describe it.", url)])
    assert said.startswith(f"What looks like a photo, landscape, {size} pixels: mostly {colour} (")


def test_the_stored_orientation_is_applied_and_told(asker: Asker) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.new("RGB", (40, 100), "red")
    stored.paste("blue", (0, 0, 20, 100))  # the left half, which becomes the top when it is turned a quarter right
    said = asker.text([shown("Describe it.", data_url(stored, "JPEG", exif=exif, quality=95))])
    assert "landscape, 100 x 40 pixels" in said
    assert "The top is mostly blue" in said
    assert "the bottom red" in said
    assert "EXIF orientation 6" in said


def test_transparent_parts_are_white_and_told(asker: Asker) -> None:
    image = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 60, 30))
    said = asker.text([shown("Describe it.", data_url(image))])
    assert "red (50%)" in said
    assert "white (50%)" in said
    assert "Parts of it are transparent." in said


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_is_taken(asker: Asker, mode: str) -> None:
    assert "64 x 64 pixels" in asker.text([shown("Describe it.", data_url(Image.new(mode, (64, 64))))])


def test_a_picture_of_one_pixel_and_a_thin_one_are_taken(asker: Asker) -> None:
    assert "1 x 1 pixels" in asker.text([shown("?", plain("red", (1, 1)))])
    assert "1000 x 1 pixels" in asker.text([shown("?", plain("red", (1000, 1)))])


def test_which_files_are_taken_depends_on_the_server(asker_of: AskerFactory) -> None:
    image = Image.new("RGB", (64, 64), "red")
    assert "red" in asker_of(dialect="vllm").text([shown("?", data_url(image, "WEBP"))])
    refused = asker_of(dialect="llamacpp").post([shown("?", data_url(image, "WEBP"))])
    assert refused.json()["error"]["message"] == "Failed to load image or audio file"
    assert "red" in asker_of(dialect="llamacpp").text([shown("?", data_url(image, "GIF"))])


def test_earlier_pictures_are_described_when_the_question_is_about_them(asker: Asker) -> None:
    turns = [
        shown("Remember this.", plain("red")),
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "Which colour was the picture?"},
    ]
    assert "A plain red square" in asker.text(turns)
    turns[-1] = {"role": "user", "content": "Count to 3."}
    assert asker.text(turns) == "1 2 3"


def test_thoughts_tell_what_each_picture_costs(asker: Asker) -> None:
    thoughts = asker.message([shown("?", plain("red"), plain("red", (640, 480)))], model=THINKING)["reasoning"]
    assert "Picture 1 is 64 x 64 pixels: 69 tokens. Picture 2 is 640 x 480 pixels: 2" in thoughts


def test_a_form_about_a_picture_is_filled_with_what_was_measured(asker: Asker) -> None:
    schema = {
        "type": "object",
        "properties": {
            "width": {"type": "integer"},
            "dominant_color": {"type": "string"},
            "orientation": {"enum": ["portrait", "landscape", "square"]},
            "colors": {"type": "array", "items": {"type": "string"}},
            "description": {"type": "string"},
        },
    }
    answer = asker.text(
        [shown("Fill in the form.", plain("blue", (90, 30)))],
        response_format={"type": "json_schema", "json_schema": {"name": "picture", "schema": schema}},
    )
    assert json.loads(answer) == {
        "width": 90,
        "dominant_color": "blue",
        "orientation": "landscape",
        "colors": ["blue"],
        "description": "A plain blue landscape rectangle, 90 x 30 pixels.",
    }
