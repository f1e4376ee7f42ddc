"""Celery's doors to the inbox and to the upkeep of every queue."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from config.infra import work
from config.infra.tasks import SystemTask
from shopsync.actions import breakers, inbox
from shopsync.models import WebhookEvent


@shared_task(base=SystemTask)
def drain_webhooks() -> int:
    """Work on stored deliveries until none is due."""
    return work.drain(WebhookEvent, lambda rows: work.run_each(rows, inbox.handle))


@shared_task(base=SystemTask)
def sweep_work() -> None:
    """Expire leases of every queue and ring where work is due: the repair for every lost bell and lost process."""
    for model in work.queues():
        work.sweep(model)


@shared_task(base=SystemTask)
def forget_old_payloads() -> int:
    """Forget payloads past their retention."""
    return inbox.forget_payloads(now=timezone.now())


@shared_task(base=SystemTask)
def record_breaker_openings() -> int:
    """Write what opened into the trail."""
    return breakers.record_openings()
