"""What send queues and their flows wait for, and since when: as of the message that has been due longest in a flow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from config.infra.work import Status
from messaging.models import Flow, Message, SendQueue

SHOWN = 100


def blocker_of(holder: Flow | SendQueue) -> str:
    """Name what a queue or a flow waits for; empty once the time of its blocker is over."""
    is_over = holder.blocked_until is not None and holder.blocked_until <= timezone.now()
    return "" if is_over else holder.blocker


def queues_waiting(*, now: datetime) -> QuerySet[SendQueue]:
    """Read the queues, with `waiting_since`: when the message that waits longest was due; null: none is due."""
    oldest = _flows_waiting(now).filter(queue_id=OuterRef("pk"), waiting_since__isnull=False)
    first = oldest.order_by("waiting_since").values("waiting_since")[:1]
    return SendQueue.objects.select_related("connection").annotate(waiting_since=Subquery(first))


def flows_of(queue_id: int, *, now: datetime) -> list[Flow]:
    """Read the flows of a queue that have not ended, with `waiting_since` as its queue has; the first hundred."""
    return list(_flows_waiting(now).filter(queue_id=queue_id).order_by("pk")[:SHOWN])


def _flows_waiting(now: datetime) -> QuerySet[Any]:
    due = Message.objects.filter(flow_id=OuterRef("pk"), status=Status.READY, due_at__lte=now).order_by("due_at")
    return Flow.objects.exclude(blocker="finished").annotate(waiting_since=Subquery(due.values("due_at")[:1]))
