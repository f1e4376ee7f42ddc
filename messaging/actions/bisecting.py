"""Bisecting: of a call that was refused as a whole one message is at fault, and nothing was sent; halves are called.

Each half is begun as any call is: everything is asked once more, so that an opt-out or a pause that came meanwhile
stops it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from config.infra import work
from config.infra.transactions import retrying_atomic
from config.infra.work.claims import in_seconds
from messaging.actions.claiming import Call, begin, choose_again, lock_flows_of
from messaging.actions.frequencies import uncount_sends
from messaging.actions.questions import Claimed
from messaging.actions.returning import admit, put_back, return_rows, skip_cancelled, still_open
from messaging.models import Message
from shopsync.models import Connection

REFUSED = "refused as part of a call"


@dataclass(frozen=True, slots=True)
class Half:
    """Messages of a call that was refused as a whole; they stay `calling` under its attempt until they are begun."""

    attempt_id: int
    rows: Sequence[Claimed]


def halve(call: Call) -> list[Half]:
    """Split what was refused as a whole."""
    middle = len(call.rows) // 2
    return [Half(call.attempt.pk, rows) for rows in (call.rows[:middle], call.rows[middle:])]


@retrying_atomic
def begin_half(half: Half, *, via: Connection, now: datetime, granted_at: datetime) -> Call | None:
    """Begin the call of a half; what may not be sent now is skipped, or waits in its queue. None: nothing is left.

    What is no longer `calling` under the attempt (its lease ran out, somebody decided) is left as it is.
    """
    cancelled = admit(still_open(half.rows, attempt_id=half.attempt_id))
    flows = lock_flows_of([row.id for row in half.rows])
    mine = still_open(half.rows, attempt_id=half.attempt_id, locks=True)
    put_back(mine, attempt_id=half.attempt_id, blocker="", error=REFUSED, was_called=False)
    uncount_sends(half.attempt_id, ids=[row.id for row in mine])
    rows = choose_again([row.id for row in mine if row.campaign_id not in cancelled], flows, now=now)
    call = begin(rows, via=via, granted_at=granted_at) if rows else None
    skip_cancelled(mine, cancelled)
    return call


def keep(halves: Sequence[Half]) -> None:
    """Renew the leases of halves whose turn comes later."""
    for half in halves:
        mine = Message.objects.filter(attempt_id=half.attempt_id, status=work.Status.LEASED)
        mine.filter(pk__in=[row.id for row in half.rows]).update(lease_until=in_seconds(Message.queue.lease_seconds))


@retrying_atomic
def give_up(half: Half, *, blocker: str) -> None:
    """Return a half to the queue: it is called another time."""
    return_rows(half.rows, attempt_id=half.attempt_id, blocker=blocker, error=REFUSED)
