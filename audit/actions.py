"""record(): the trail and the outbox, written in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from audit.models import AuditEvent, EventDelivery
from config.infra import tenancy, work

Value = str | int | bool | None | list[str]


@dataclass(frozen=True, slots=True)
class Event:
    """An audit event as a subscriber gets it."""

    id: int
    tenant_id: int
    name: str
    subject: str
    data: Mapping[str, Value]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Happening:
    """Something to record: what it happened to, and allow-listed values of it, never personal data."""

    subject: str
    data: Mapping[str, Value] | None = None
    once_key: str | None = None


def record(
    *, name: str, subject: str, actor: str, data: Mapping[str, Value] | None = None, once_key: str | None = None
) -> AuditEvent:
    """Write one audit event of the tenant in scope (or of the system), and a delivery for each of its subscribers.

    name: dotted `noun.past_participle`; subject: e.g. `order:123`; data: allow-listed values, never personal data;
    once_key: at most one event of this key per tenant, held by the constraint auditevent_happens_once.

    Raises: IntegrityError when a once_key is used again: the caller decides first, the constraint only guards.
    """
    (event,) = record_all(name=name, actor=actor, happenings=[Happening(subject, data, once_key)])
    return event


@transaction.atomic(savepoint=False)
def record_all(*, name: str, actor: str, happenings: Iterable[Happening]) -> list[AuditEvent]:
    """Write an audit event for each of several things of one kind that happened, as `record` does, in two statements.

    Raises: IntegrityError.
    """
    tenant_id = tenancy.tenant_id_or_none()
    events = [
        AuditEvent(
            tenant_id=tenant_id,
            name=name,
            subject=happening.subject,
            actor=actor,
            data=dict(happening.data or {}),
            once_key=happening.once_key,
        )
        for happening in happenings
    ]
    if tenant_id is None:  # the system's own events have no subscribers: handlers work for a tenant
        with tenancy.all_tenants(reason="write audit events of the system"):
            for event in events:
                event.save(force_insert=True)
        return events
    AuditEvent.objects.bulk_create(events, batch_size=1000)
    subscribers = settings.EVENT_SUBSCRIBERS.get(name, [])
    work.add(
        [
            EventDelivery(tenant_id=tenant_id, event=event, subscriber=path, lane=f"{event.subject}>{path}"[:200])
            for event in events
            for path in subscribers
        ]
    )
    return events


def deliver(row: EventDelivery) -> None:
    """Hand one event to its subscriber, in the tenant's scope and the caller's transaction."""
    event = row.event
    assert event.tenant_id is not None  # deliveries exist for tenants' events only
    subscriber = import_string(row.subscriber)
    subscriber(
        event=Event(
            id=event.pk,
            tenant_id=event.tenant_id,
            name=event.name,
            subject=event.subject,
            data=event.data,
            created_at=event.created_at,
        )
    )
