"""Calls of tools that come as text are calls, wherever the text is cut, and never a part of the answer's text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicpm_core.protocol.callbody import TextCall
from minicpm_core.protocol.tooltext import ToolTextSplitter

_TOOLS: dict[str, Any] = {
    "get_weather": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    "write": {"type": "object", "properties": {"code": {"type": "string"}}},
}
_PARIS = "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>"
_ROME = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>'
_IN_PARIS = ("get_weather", {"city": "Paris"})
_IN_ROME = ("get_weather", {"city": "Rome", "days": 2})


def _split(*pieces: str) -> tuple[str, list[TextCall]]:
    splitter = ToolTextSplitter(_TOOLS)
    events = [event for piece in pieces for event in splitter.feed(piece)] + splitter.finish()
    return "".join(event for event in events if isinstance(event, str)), [
        event for event in events if not isinstance(event, str)
    ]


def _read(text: str) -> tuple[str, list[tuple[str, Any]]]:
    said, calls = _split(text)
    return said, [(call.name, json.loads(call.arguments)) for call in calls]


_WHOLE: dict[str, tuple[str, str, list[Any]]] = {
    "XML": (_PARIS, "", [_IN_PARIS]),
    "JSON": (_ROME, "", [_IN_ROME]),
    "XML in one line": (_PARIS.replace("\n", ""), "", [_IN_PARIS]),
    "JSON in one line": (_ROME.replace("\n", ""), "", [_IN_ROME]),
    "several": (f"{_PARIS}\n{_ROME}\n{_PARIS}", "", [_IN_PARIS, _IN_ROME, _IN_PARIS]),
    "several without anything between": (_PARIS + _ROME, "", [_IN_PARIS, _IN_ROME]),
    "text before": (f"Let me look.\n\n{_PARIS}\n", "Let me look.", [_IN_PARIS]),
    "text between and after": (f"Ah.\n{_PARIS}\nAnd:\n\n{_ROME}\nSo.", "Ah.\nAnd:\nSo.", [_IN_PARIS, _IN_ROME]),
    "no line break around": (f"Ah.{_PARIS} So.", "Ah. So.", [_IN_PARIS]),
    "arguments as text": (_ROME.replace('{"city": "Rome", "days": 2}', '"{}"'), "", [("get_weather", {})]),
    "parameters for arguments": (_ROME.replace("arguments", "parameters"), "", [_IN_ROME]),
    "no arguments in XML": (
        "<tool_call>\n<function=get_weather>\n</function>\n</tool_call>", "", [("get_weather", {})],
    ),
    "no arguments in JSON": ('<tool_call>{"name": "get_weather"}</tool_call>', "", [("get_weather", {})]),
    "JSON in a function": (
        '<tool_call>\n<function=get_weather>\n{"city": "Paris"}\n</function>\n</tool_call>', "", [_IN_PARIS],
    ),
    "two functions in a block": (
        _PARIS.replace("</function>", "</function>\n<function=get_weather>\n</function>"),
        "", [_IN_PARIS, ("get_weather", {})],
    ),
    "no closing tag of the block": (_PARIS.removesuffix("</tool_call>"), "", [_IN_PARIS]),
    "no closing tag of the first block": (f"{_PARIS.removesuffix('</tool_call>')}{_ROME}", "", [_IN_PARIS, _IN_ROME]),
    "no closing tag of a parameter": (_PARIS.replace("</parameter>\n", ""), "", [_IN_PARIS]),
    "no closing tag of a function": (_PARIS.replace("</function>\n", ""), "", [_IN_PARIS]),
    "tags in a value": (
        _PARIS.replace("get_weather", "write").replace("city", "code").replace("Paris", "a </tool_call> </parameter> c")
        + "\nDone.", "Done.", [("write", {"code": "a </tool_call> </parameter> c"})],
    ),
    "tags in JSON": (
        '<tool_call>{"name": "write", "arguments": {"code": "a \\" </tool_call> <tool_call> b"}}</tool_call>',
        "", [("write", {"code": 'a " </tool_call> <tool_call> b'})],
    ),
    "line breaks in a value": (
        _PARIS.replace("Paris", "\n  a\n\nb\n"), "", [("get_weather", {"city": "\n  a\n\nb\n"})],
    ),
    "text alone": ("  1 < 2, <tool> and\n<tool_ \n", "  1 < 2, <tool> and\n<tool_ \n", []),
    "the tag in a sentence": ("The tag <tool_call> begins a call. ", "The tag <tool_call> begins a call. ", []),
    "a quoted call": (f"Write `{_ROME}`.", f"Write `{_ROME}`.", []),
    "a fenced call": (f"So:\n```xml\n{_PARIS}\n```\nDone.", f"So:\n```xml\n{_PARIS}\n```\nDone.", []),
    "a call after a fence": (f"So:\n```\nx\n```\n{_PARIS}", "So:\n```\nx\n```", [_IN_PARIS]),
    "a sentence with the tag, and a call": (f"Not <tool_call> x.\n{_PARIS}", "Not <tool_call> x.", [_IN_PARIS]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said", "calls"), _WHOLE.values(), ids=_WHOLE)
def test_calls_are_told_from_the_text(text: str, said: str, calls: list[Any]) -> None:
    assert _read(text) == (said, calls)


_BROKEN: dict[str, tuple[str, list[TextCall]]] = {
    "XML that ends in a value": (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nPar",
        [TextCall("get_weather", "<parameter=city>\nPar")],
    ),
    "XML that ends after a value": (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n",
        [TextCall("get_weather", "<parameter=city>\nParis\n</parameter>")],
    ),
    "XML that ends in the name": ("<tool_call>\n<function=get_w", [TextCall("", "<function=get_w")]),
    "nothing but the tag": ("<tool_call>\n", [TextCall("", "")]),
    "JSON that ends in a value": (
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Par',
        [TextCall("get_weather", '{"city": "Par')],
    ),
    "JSON with a comma too many": (
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris",}}</tool_call>',
        [TextCall("get_weather", '{"city": "Paris",}')],
    ),
    "JSON without a name": ('<tool_call>{"city": "Paris"}</tool_call>', [TextCall("", '{"city": "Paris"}')]),
    "JSON with a quote too many, then a call": (
        f'<tool_call>{{"name": "write", "arguments": {{"code": "5" "}}}}</tool_call>{_PARIS}',
        [TextCall("write", '{"code": "5" "}}'), TextCall("get_weather", '{"city": "Paris"}')],
    ),
    "a number that JSON has no word for": (
        '<tool_call>{"name": "write", "arguments": {"code": 1e999}}</tool_call>',
        [TextCall("write", '{"code": 1e999}')],
    ),
    "words before the parameters": (
        _PARIS.replace("<parameter=city>", "and so on\n<parameter=city>"),
        [TextCall("get_weather", "and so on\n<parameter=city>\nParis\n</parameter>\n</function>")],
    ),
}


@pytest.mark.parametrize(("text", "calls"), _BROKEN.values(), ids=_BROKEN)
def test_what_cannot_be_read_is_kept_as_it_came_and_is_no_text(text: str, calls: list[TextCall]) -> None:
    assert _split(text) == ("", calls)


_ALL = [text for text, *_ in (*_WHOLE.values(), *_BROKEN.values())]


@pytest.mark.parametrize("text", _ALL)
def test_a_cut_anywhere_changes_nothing(text: str) -> None:
    whole = _split(text)
    assert _split(*text) == whole
    for cut in range(len(text)):
        assert _split(text[:cut], text[cut:]) == whole, cut


_SCRAPS = st.sampled_from([
    "<tool_call>", "</tool_call>", "<function=get_weather>", "</function>", "<parameter=city>", "</parameter>", "\n",
    '{"name": "write", "arguments": {"code": "', '"}}', '"', "\\", " ", "text", "```", "`", "<", "<tool", _PARIS, _ROME,
])  # fmt: skip


@given(scraps=st.lists(_SCRAPS, max_size=14), data=st.data())
def test_cuts_change_nothing_in_any_text(scraps: list[str], data: st.DataObject) -> None:
    text = "".join(scraps)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert _split(*pieces) == _split(text)
    assert _split(*text) == _split(text)


@given(text=st.text(alphabet="ab \n<>`{}"))
def test_text_without_a_call_is_given_as_it_is(text: str) -> None:
    assert _split(*text) == (text, [])


@given(value=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_string_comes_through_the_template_as_it_was(value: str) -> None:
    text = f"<tool_call>\n<function=write>\n<parameter=code>\n{value}\n</parameter>\n</function>\n</tool_call>"
    assert _read(text) == ("", [("write", {"code": value})])


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_arguments_in_json_are_the_objects_that_they_were(value: Any) -> None:
    call = json.dumps({"name": "write", "arguments": {"code": value}})
    assert _read(f"<tool_call>\n{call}\n</tool_call>") == ("", [("write", {"code": value})])


def test_what_is_pending_is_what_a_cut_would_give() -> None:
    """Asked at any time, and without changing what comes after."""
    splitter = ToolTextSplitter(_TOOLS)
    text = f"Ah.\n{_PARIS} x {_ROME}\n"
    given: list[Any] = []
    for at, character in enumerate(text, 1):
        given += splitter.feed(character)
        said, calls = _split(text[:at])
        events = given + splitter.pending_with("")
        assert "".join(event for event in events if isinstance(event, str)) == said
        assert [event for event in events if not isinstance(event, str)] == calls
