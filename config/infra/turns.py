"""Pieces of work that each have their turn (pure): what fails keeps no other from it, and is raised together after.

turns = Turns("tenant")
for tenant_id in tenant_ids:
    with turns.turn(tenant_id):
        ...
turns.end(f"{len(turns.failures)} tenants failed")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Collects what fails of several turns. kind: what each is for; catches: what counts as a turn's own failure.

    What is not caught ends the work at once, as does an exit or an interruption.
    """

    def __init__(self, kind: str, *, catches: type[Exception] = Exception) -> None:
        self._kind = kind
        self._catches = catches
        self.failures: list[Exception] = []
        self.failed: list[int | str] = []

    @contextmanager
    def turn(self, key: int | str) -> Iterator[None]:
        """Do one piece of work; its failure is kept, with a note that says of which it is, and its key in `failed`."""
        try:
            yield
        except self._catches as failure:
            failure.add_note(f"of {self._kind} {key}")
            self.failures.append(failure)
            self.failed.append(key)

    def end(self, sentence: str) -> None:
        """Raise what failed, after the last turn; nothing when nothing did.

        Raises: ExceptionGroup of the failures, in their order, with this sentence.
        """
        if self.failures:
            raise ExceptionGroup(sentence, self.failures)
