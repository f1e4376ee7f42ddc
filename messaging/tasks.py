"""Celery's doors to sending and to imports."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from config.infra import work
from config.infra.tasks import SystemTask
from messaging.actions.imports import forget_imports_everywhere, run_imports
from messaging.actions.sending import send_messages
from messaging.models import ContactImport, Message


@shared_task(base=SystemTask)
def drain_messages() -> int:
    """Send due messages until none is due."""
    return work.drain(Message, send_messages)


@shared_task(base=SystemTask)
def drain_imports() -> int:
    """Work on imports until none is due, each for a while."""
    return work.drain(ContactImport, run_imports)


@shared_task(base=SystemTask)
def forget_old_imports() -> int:
    """Forget the files and rows of imports past their retention."""
    return forget_imports_everywhere(now=timezone.now())
