"""Celery's doors to sending and to imports."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from config.infra import work
from config.infra.tasks import SystemTask
from messaging.actions.imports import forget_imports_everywhere, run_imports
from messaging.actions.progress import advance_campaigns
from messaging.actions.reviews import watch_replies
from messaging.actions.sending import send_due
from messaging.actions.unknowns import give_up_unknowns, match_orphans, return_refused
from messaging.actions.watching import watch_sending
from messaging.models import ContactImport


@shared_task(base=SystemTask)
def drain_messages() -> int:
    """Send due messages until none is due."""
    return send_due()


@shared_task(base=SystemTask)
def move_campaigns() -> int:
    """Begin, prepare and end campaigns whose step has come."""
    return advance_campaigns()


@shared_task(base=SystemTask)
def settle_unknowns() -> int:
    """Return what refused calls left uncalled, ask providers about reports that fit no message, and end what nobody
    will hear of any more."""
    return return_refused() + match_orphans() + give_up_unknowns(now=timezone.now())


@shared_task(base=SystemTask)
def watch_messages() -> int:
    """Tell of whatever is stuck without saying why, and of replies that wait for a person."""
    return watch_sending() + watch_replies(now=timezone.now())


@shared_task(base=SystemTask)
def drain_imports() -> int:
    """Work on imports until none is due, each for a while."""
    return work.drain(ContactImport, run_imports)


@shared_task(base=SystemTask)
def forget_old_imports() -> int:
    """Forget the files and rows of imports past their retention."""
    return forget_imports_everywhere(now=timezone.now())
