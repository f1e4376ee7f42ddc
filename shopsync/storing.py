"""What of JSON PostgreSQL's jsonb can keep (pure)."""

from __future__ import annotations

import math
import re
from typing import Any

MAX_DEPTH = 100
# https://www.postgresql.org/docs/current/datatype-json.html: it takes neither NUL nor half of a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_storable(value: Any) -> bool:
    """Can it be kept as jsonb? Not where a text or a name can't, nor nested more than MAX_DEPTH deep, nor NaN."""
    level = [value]
    for _ in range(MAX_DEPTH):
        if not all(map(_is_plain, level)):
            return False
        level = [inner for one in level for inner in _within(one)]
        if not level:
            return True
    return False


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, str) or _UNSTORABLE.search(value) is None


def _within(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []
