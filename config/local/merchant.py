"""A merchant's own system, as it speaks with the API: its key, JSON, a new Idempotency-Key for each write."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from config.local.deliveries import Answer, as_bytes, request

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Merchant:
    """One tenant's system."""

    base_url: str
    api_key: str = field(repr=False)

    def send(self, method: str, path: str, body: Document | None = None, *, key: str = "") -> Answer:
        """Make one request and return its answer, whatever its status; `key` repeats an earlier write.

        Raises:
            OSError: no answer came.
        """
        headers = {"Authorization": f"Api-Key {self.api_key}"}
        if method != "GET":
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key or f"local-{uuid.uuid4()}"}
        raw = None if body is None else as_bytes(body)
        return request(method, f"{self.base_url}/api/v1/{path}", raw=raw, headers=headers)

    def get(self, path: str) -> Any:
        """Read a path's JSON.

        Raises:
            RuntimeError: it was refused.
        """
        return _taken("GET", path, self.send("GET", path))

    def post(self, path: str, body: Document | None = None, *, key: str = "") -> Any:
        """Write, and return the answer's JSON.

        Raises:
            RuntimeError: it was refused.
        """
        return _taken("POST", path, self.send("POST", path, {} if body is None else body, key=key))

    def patch(self, path: str, body: Document) -> Any:
        """Change, and return the answer's JSON.

        Raises:
            RuntimeError: it was refused.
        """
        return _taken("PATCH", path, self.send("PATCH", path, body))

    def rows(self, path: str) -> list[Any]:
        """Read the first page of a list."""
        found: list[Any] = self.get(path)["results"]
        return found


def _taken(method: str, path: str, answer: Answer) -> Any:
    if not 200 <= answer.status < 300:
        raise RuntimeError(f"{method} /api/v1/{path} was answered {answer.status}: {answer.text[:300]}")
    return json.loads(answer.text) if answer.text else None
