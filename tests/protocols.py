"""The shared protocol files, where they are present: tests that read them say so and skip without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures" / "shopify"
PROTOCOLS = ROOT.parent / "shared" / "protocols"

needs_protocols = pytest.mark.skipif(
    not PROTOCOLS.is_dir(), reason="reads ../shared/protocols, which is not beside this checkout"
)


def topic_of(path: Path) -> str:
    """Return the topic in a payload file's name: TOPIC--NAME.json, `__` for the slash."""
    return path.stem.split("--")[0].replace("__", "/", 1)


def read_protocol(name: str) -> Any:
    """Read a JSON file of the protocols."""
    return json.loads((PROTOCOLS / name).read_text())
