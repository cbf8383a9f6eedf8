"""A key does not come out of its box by accident."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from dataclasses import asdict, dataclass
from pprint import pformat

import pytest

from minicpm_core.secret import MASK, Secret

_KEY = "sk-do-not-show-me"


@dataclass
class _Holder:
    secret: Secret


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(_KEY)),
        str(Secret(_KEY)),
        f"{Secret(_KEY)}",
        f"{Secret(_KEY)!r}",
        f"{Secret(_KEY)!s:>40}",
        "%s %r" % (Secret(_KEY), Secret(_KEY)),  # noqa: UP031 - logging formats so
        "{}".format(Secret(_KEY)),  # noqa: UP032 - one of the ways
        str([Secret(_KEY)]),
        str({"key": Secret(_KEY)}),
        pformat(asdict(_Holder(Secret(_KEY)))),
        repr(_Holder(Secret(_KEY))),
    ],
)
def test_a_secret_is_never_shown(shown: str) -> None:
    assert _KEY not in shown
    assert MASK in shown


def test_a_secret_is_not_logged_nor_traced(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").warning("the key is %s, %r", Secret(_KEY), Secret(_KEY))
    assert _KEY not in caplog.text
    assert _KEY not in "".join(traceback.format_exception(ValueError(Secret(_KEY))))


def test_a_secret_takes_no_format_of_its_own() -> None:
    with pytest.raises(TypeError) as caught:
        format(Secret(_KEY), "x")
    assert _KEY not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_leaves_the_secret_behind(protocol: int) -> None:
    data = pickle.dumps({"a": Secret(_KEY)}, protocol)
    assert _KEY.encode() not in data
    assert pickle.loads(data) == {"a": None}


def test_a_copy_keeps_the_secret() -> None:
    secret = Secret(_KEY)
    assert copy.copy(secret).reveal() == _KEY
    assert copy.deepcopy([secret])[0].reveal() == _KEY


def test_secrets_are_equal_where_their_values_are() -> None:
    assert Secret(_KEY) == Secret(_KEY)
    assert Secret(_KEY) != Secret("other")
    assert Secret(_KEY) != _KEY
    assert len({Secret(_KEY), Secret(_KEY)}) == 1


def test_a_secret_has_no_dictionary_to_be_dumped() -> None:
    assert not hasattr(Secret(_KEY), "__dict__")
