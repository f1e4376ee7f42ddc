"""Dead letters: make what was given up ready again, of any queue; what may have been sent only when confirmed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext

from django.db import IntegrityError, transaction

from audit.actions import record
from audit.models import DeadLetter
from config.infra import tenancy, work
from shopsync.actions.inbox import Replayed, replayable
from shopsync.models import WebhookEvent
from shopsync.models.digests import SYSTEM


def may_have_happened(letter: DeadLetter) -> bool:
    """Is this a call whose outcome nobody knows, of a queue where repeating costs money or sends twice?"""
    return letter.status == work.Status.UNKNOWN and work.find_queue(letter.queue).queue.on_expiry == "park"


def replay_dead_letters(*, letters: Iterable[DeadLetter], actor: str, is_confirmed: bool = False) -> Replayed:
    """Make dead letters ready again, each recorded in its own tenant.

    is_confirmed: a person was told that the unknown ones may have been sent, and wants them sent all the same. Left as
    they are: unconfirmed unknowns, deliveries without payload, and what has moved on since it was looked at.
    """
    replayed = not_replayed = 0
    for letter in letters:
        if letter.tenant_id is not None and (is_confirmed or not may_have_happened(letter)) and _replay(letter, actor):
            replayed += 1
        else:
            not_replayed += 1
    return Replayed(replayed=replayed, not_replayed=not_replayed)


def _replay(letter: DeadLetter, actor: str) -> bool:
    model = work.find_queue(letter.queue)
    assert letter.tenant_id is not None  # the caller looked
    noun = str(model._meta.verbose_name).replace(" ", "_")
    try:
        with tenancy.tenant_scope(letter.tenant_id), transaction.atomic():
            rows = model._default_manager.filter(pk=letter.row_id, status=letter.status)
            if issubclass(model, WebhookEvent):
                rows = replayable(rows)  # type: ignore[arg-type]  # a WebhookEvent by now
            if not work.replay(rows):
                return False
            data = {"queue": letter.queue, "was": letter.status}
            with tenancy.no_scope() if letter.tenant_id == SYSTEM else nullcontext():
                record(name="dead_letter.replayed", subject=f"{noun}:{letter.row_id}", actor=actor, data=data)
    except IntegrityError:  # another copy of this event is in the inbox (webhookevent_is_worked_once_per_event_id)
        return False
    return True
