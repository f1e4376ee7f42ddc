"""The breakers in trouble, as operators look at them; and the openings that are not in the trail yet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from config.infra.breaker import local, scripts, shared
from config.infra.breaker.local import Snapshot
from config.infra.services import SERVICES

OPENINGS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Listing:
    """The breakers in trouble; `is_shared` is False while Redis is away: then they are this process's alone."""

    breakers: list[Snapshot]
    is_shared: bool

    def count_open(self) -> dict[str, int]:
        """Count the breakers that are not closed, by service."""
        return dict(sorted(Counter(one.service for one in self.breakers if one.state != "closed").items()))


@dataclass(frozen=True, slots=True)
class Opening:
    """One opening of a breaker that all processes share; `key` is unique and stays the same until it is forgotten."""

    key: str
    service: str
    connection: str


def list_breakers() -> Listing:
    """List each breaker that is not plainly closed or has counted failures, by service and connection."""
    rows = shared.store.run(scripts.LIST, [scripts.INDEX_KEY])
    if rows is None:
        return Listing(sorted(local.breakers.list(), key=_name), is_shared=False)
    found = [Snapshot(*_parts(key), state, failures, wait_ms / 1000) for key, failures, state, wait_ms in rows]
    declared = [one for one in found if one.service in SERVICES]  # another version may have declared others
    return Listing(sorted(declared, key=_name), is_shared=True)


def read_openings() -> list[Opening]:
    """Read the oldest openings that nobody has forgotten yet; none while Redis, which keeps them, is away."""
    entries = shared.store.run(scripts.OPENINGS, [scripts.OPENINGS_KEY], [OPENINGS_AT_ONCE]) or []
    return [Opening(entry, *_parts(entry.partition("|")[2])) for entry in entries]


def forget_opening(opening: Opening) -> None:
    """Take an opening off the list."""
    shared.store.run(scripts.FORGET_OPENING, [scripts.OPENINGS_KEY], [opening.key])


def _parts(key: str) -> tuple[str, str]:
    """Split a breaker's key into service and connection; the latter may hold colons."""
    _, service, connection = key.split(":", 2)
    return service, connection


def _name(snapshot: Snapshot) -> tuple[str, str]:
    return snapshot.service, snapshot.connection
