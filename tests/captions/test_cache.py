"""What was asked once is kept whole, told apart by all that it depends on, and never stale."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from minicpm_core import ClientConfig
from minicpm_core.captions import Caption, CaptionCache, CaptionCacheWarning, CaptionPlan, Picture
from minicpm_core.errors import ConfigurationError, InvalidInputError
from tests.captions.support import png

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = ClientConfig.create(base_url="http://127.0.0.1:1/v1", api_key="sk-a-secret")
SHA = Picture.of(png()).sha256


def _plan(**more: Any) -> CaptionPlan:
    return CaptionPlan.of(more.pop("config", CONFIG), **more)


def test_captions_are_kept(tmp_path: Path) -> None:
    cache, key = CaptionCache(tmp_path / "new" / "folder"), _plan().key(SHA)
    assert cache.get(key) is None
    cache.put(key, Caption(text="Ein Bär \ud83d."), sha256=SHA, model="m")
    assert CaptionCache(tmp_path / "new" / "folder").get(key) == Caption(text="Ein Bär \ud83d.")
    assert list(cache) == [key]


def test_the_key_depends_on_all_that_the_answer_does() -> None:
    plans = (
        _plan(),
        _plan(prompt="What is it?"),
        _plan(structured=True),
        _plan(options={"temperature": 0.5}),
        _plan(options={"model": "MiniCPM-V-4.5-9B"}),
        _plan(options={"extra_body": {"top_k": 3}}),
        _plan(config=ClientConfig.create(base_url="http://127.0.0.1:1/v1", image_detail="low")),
        _plan(config=ClientConfig.create(base_url="http://127.0.0.1:1/v1", options={"seed": 9})),
    )
    keys = [plan.key(sha) for plan in plans for sha in (SHA, Picture.of(png("blue")).sha256)]
    assert len(set(keys)) == len(keys)


def test_the_key_does_not_depend_on_where_and_by_whom_it_is_asked() -> None:
    other = ClientConfig.create(base_url="http://127.0.0.1:2/v1", api_key="sk-another", timeout=3)
    assert _plan().key(SHA) == _plan(config=other, options={"timeout": 9}).key(SHA)


def test_no_secret_is_written(tmp_path: Path) -> None:
    cache = CaptionCache(tmp_path)
    plan = _plan(options={"extra_headers": {"x-key": "sk-a-secret"}, "extra_body": {"token": "sk-a-secret"}})
    cache.put(plan.key(SHA), Caption(text="A cat."), sha256=SHA, model=plan.model)
    assert [b"sk-a-secret" in file.read_bytes() for file in tmp_path.rglob("*.json")] == [False]
    assert "sk-a-secret" not in repr(plan)


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _changed(data: bytes) -> bytes:
    return data.replace(b"A cat.", b"A dog.")


def _of_another(data: bytes) -> bytes:
    entry = json.loads(data)
    return json.dumps({**entry, "key": "0" * 64}).encode()


def _emptied(_: bytes) -> bytes:
    return b""


def _listed(_: bytes) -> bytes:
    return b"[1]"


@pytest.mark.parametrize("damage", [_cut, _changed, _of_another, _emptied, _listed])
def test_a_broken_entry_is_told_of_and_counts_as_missing(tmp_path: Path, damage: Any) -> None:
    cache, key = CaptionCache(tmp_path), _plan().key(SHA)
    cache.put(key, Caption(text="A cat."), sha256=SHA, model="m")
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(CaptionCacheWarning, match="is broken"):
        assert cache.get(key) is None
    cache.put(key, Caption(text="A cat."), sha256=SHA, model="m")
    assert cache.get(key) == Caption(text="A cat.")


def test_many_may_write_the_same_entry_while_others_read_it(tmp_path: Path) -> None:
    cache, key = CaptionCache(tmp_path), _plan().key(SHA)
    texts = [str(number) * 5000 for number in range(8)]

    def work(text: str) -> None:
        for _ in range(20):
            cache.put(key, Caption(text=text), sha256=SHA, model="m")
            found = cache.get(key)  # a torn entry would warn, which is an error here
            assert found is not None
            assert found.text in texts

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, texts))
    assert len(list(tmp_path.rglob("*.*"))) == 1  # nothing is left beside it


def test_a_folder_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache, key = CaptionCache(tmp_path / "file"), _plan().key(SHA)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        cache.put(key, Caption(text="A cat."), sha256=SHA, model="m")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        cache.get(key)


def test_a_key_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        CaptionCache(tmp_path).get("../../etc/passwd")
