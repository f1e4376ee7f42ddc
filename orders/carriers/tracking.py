"""Where a parcel stands, from all that its carrier said of it (pure).

The words are EasyPost's (https://docs.easypost.com/docs/trackers). Whatever the order in which they arrive, and however
often, the same set of sayings ends in the same state.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

DELIVERED, RETURNED = "delivered", "return_to_sender"
# A tie in time goes to the word that is further along.
RANKS = {
    "unknown": 0,
    "error": 1,
    "cancelled": 2,
    "pre_transit": 3,
    "in_transit": 4,
    "out_for_delivery": 5,
    "available_for_pickup": 6,
    "failure": 7,
    DELIVERED: 8,
    RETURNED: 9,
}
MOVING = frozenset({"in_transit", "out_for_delivery", "available_for_pickup", "failure", DELIVERED, RETURNED})


@dataclass(frozen=True, slots=True)
class Said:
    """One thing the carrier said."""

    happened_at: datetime
    status: str
    detail: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the parcel stands: the saying that counts, and since when it is on its way (None: it is not)."""

    newest: Said
    left_at: datetime | None


def standing_of(sayings: Collection[Said]) -> Standing | None:
    """Decide where a parcel stands; None when nothing was said.

    The newest saying counts, but what was delivered stays delivered unless it came back.
    """
    if not sayings:
        return None
    ordered = sorted(sayings, key=_age)
    final = [said for said in ordered if said.status in {DELIVERED, RETURNED}]
    moving = [said.happened_at for said in ordered if said.status in MOVING]
    return Standing(newest=final[-1] if _is_final(final) else ordered[-1], left_at=min(moving) if moving else None)


def _is_final(final: list[Said]) -> bool:
    return any(said.status == DELIVERED for said in final)


def _age(said: Said) -> tuple[datetime, int, str, str, str]:
    return said.happened_at, RANKS.get(said.status, 0), said.status, said.detail, said.message
