"""Arguments of tool calls that are JSON but for a slip that models make, and that can be read in one way only."""

from __future__ import annotations

import json
import re

_COMMA_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"|[{\[,:]\s*,|,(?=\s*[}\]])', re.DOTALL)


def repaired_arguments(text: str) -> str | None:
    """A JSON object from a text that is one but for commas before a closing bracket and line breaks inside strings.

    Nothing else is repaired: no missing bracket, quote or value, since it could only be guessed.

    Returns:
        The object as JSON text; `None` where the text needs no repair, or this repair does not make an object of it.
    """
    try:
        json.loads(text)
    except ValueError:
        pass
    except RecursionError:
        return None
    else:
        return None
    without_commas = _COMMA_OR_STRING.sub(lambda match: "" if match.group() == "," else match.group(), text)
    try:
        value = json.loads(without_commas, strict=False)
        return json.dumps(value, ensure_ascii=False, allow_nan=False) if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        return None
