"""Messages by where they stand, in the words that each shows."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from config.infra.work import Status
from messaging.models import Message

_OPEN = {  # what Message.state says of a message that has not ended
    "waiting": Q(status=Status.READY, flow__isnull=True),
    "queued": Q(status=Status.READY, flow__isnull=False) | Q(status=Status.LEASED, started_at__isnull=True),
    "calling": Q(status=Status.LEASED, started_at__isnull=False),
    **{status: Q(status=status) for status in (Status.UNKNOWN.value, Status.BURIED.value, Status.QUARANTINED.value)},
}
STATES = (*_OPEN, *Message.Outcome.values)


def in_state(rows: QuerySet[Message], state: str) -> QuerySet[Message]:
    """Choose the messages of a state, one of STATES."""
    return rows.filter(_OPEN[state]) if state in _OPEN else rows.filter(outcome=state)
