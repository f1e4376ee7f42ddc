"""Celery's door to sending."""

from __future__ import annotations

from celery import shared_task

from config.infra import work
from config.infra.tasks import SystemTask
from messaging.actions.sending import send_messages
from messaging.models import Message


@shared_task(base=SystemTask)
def drain_messages() -> int:
    """Send due messages until none is due."""
    return work.drain(Message, send_messages)
