"""A row that is a unit of work: its states, its columns, its queue's policy."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Literal

from django.apps import apps
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Status(models.TextChoices):
    """Where a unit of work stands. `ready`, `leased` move on by themselves; the rest are final, or wait for a person
    (or a report)."""

    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    UNKNOWN = "unknown"  # started, and nobody knows how it ended: parked, never repeated by itself
    BURIED = "buried"  # every attempt failed: the dead letters
    QUARANTINED = "quarantined"  # stored, but can't be worked on as it is: the reason is beside it


@dataclass(frozen=True, slots=True)
class Queue:
    """The policy of one kind of work.

    on_expiry: what becomes of a started row whose lease ran out: `repeat` for idempotent handlers, `park` where
    repeating costs money or sends twice. Times are in seconds.
    """

    name: str
    drain_task: str
    celery_queue: str
    on_expiry: Literal["repeat", "park"]
    has_lanes: bool = True
    lease_seconds: int = 60
    max_attempts: int = 8
    batch_size: int = 200
    lane_limit: int = 50
    backoff_base_seconds: float = 2.0
    backoff_cap_seconds: float = 1800.0
    may_wait: bool = False  # its rows may be due for long, for reasons that they name; a watchdog of its own tells

    def backoff(self, attempts: int) -> timedelta:
        """Pick the wait before the next attempt: exponential, full jitter."""
        ceiling = min(self.backoff_cap_seconds, self.backoff_base_seconds * 2 ** max(0, attempts - 1))
        return timedelta(seconds=random.uniform(0, ceiling))  # noqa: S311  jitter, not a secret


# What the generic claim reads, and what everything else does: a queue with a claim of its own leaves out the first.
CLAIM_INDEXES = (
    models.Index(fields=("tenant_id", "priority", "due_at", "id"), name="%(class)s_ready", condition=Q(status="ready")),
    models.Index(fields=("tenant_id", "lane", "id"), name="%(class)s_ready_lane", condition=Q(status="ready")),
    models.Index(fields=("tenant_id", "lane"), name="%(class)s_leased_lane", condition=Q(status="leased")),
    models.Index(fields=("due_at",), name="%(class)s_suspect", condition=Q(status="ready", started_at__isnull=False)),
)
UPKEEP_INDEXES = (
    models.Index(fields=("lease_until",), name="%(class)s_lease", condition=Q(status="leased")),
    models.Index(fields=("token",), name="%(class)s_token", condition=Q(status__in=("leased", "unknown"))),
    models.Index(
        fields=("id",), name="%(class)s_attention", condition=Q(status__in=("buried", "unknown", "quarantined"))
    ),
)


class WorkRow(models.Model):
    """What every unit of work carries. Concrete models add `tenant_id`, their subject and a `queue`."""

    queue: ClassVar[Queue]

    status = models.CharField(max_length=12, choices=Status, default=Status.READY)
    lane = models.CharField(max_length=200, blank=True, default="", help_text="the resource, e.g. order:123")
    priority = models.SmallIntegerField(default=1, help_text="0 goes first, 2 last")
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True, blank=True)
    token = models.UUIDField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    blocker = models.CharField(max_length=60, blank=True, default="", help_text="what a ready row waits for")
    last_error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())

    tenant_id: Any

    class Meta:
        abstract = True
        constraints: ClassVar[tuple[models.BaseConstraint, ...]] = (
            models.CheckConstraint(
                name="%(class)s_is_leased_with_a_lease_and_token",
                condition=Q(status="leased", lease_until__isnull=False, token__isnull=False)
                | (~Q(status="leased") & Q(lease_until__isnull=True)),
            ),
            models.CheckConstraint(name="%(class)s_status_is_known", condition=Q(status__in=Status.values)),
            models.CheckConstraint(name="%(class)s_priority_is_0_to_2", condition=Q(priority__range=(0, 2))),
        )
        indexes: ClassVar[tuple[models.Index, ...]] = (*CLAIM_INDEXES, *UPKEEP_INDEXES)


def queues() -> list[type[WorkRow]]:
    """List every kind of work there is, by queue name."""
    found = [model for model in apps.get_models() if issubclass(model, WorkRow)]
    return sorted(found, key=lambda model: model.queue.name)


def find_queue(name: str) -> type[WorkRow]:
    """Return the work row of a queue name.

    Raises: LookupError naming the queues there are.
    """
    for model in queues():
        if model.queue.name == name:
            return model
    raise LookupError(f"no queue {name!r}; there are {', '.join(model.queue.name for model in queues())}")
