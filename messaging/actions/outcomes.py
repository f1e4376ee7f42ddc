"""What came of a call, written in one transaction each: answers, a refusal, nothing sent, nobody knows.

Everything names the attempt: an answer counts while its message still belongs to the attempt that it answers. A report
may have been faster; what it said stays, and so does an operator's word that a message was sent, unless a report proves
otherwise. The credits of a message move once, whoever comes first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone

from config.infra.transactions import retrying_atomic
from config.infra.work import Status
from messaging.actions.charges import add_up, charge_house_for, post_released, post_settled, release_messages
from messaging.actions.claiming import Call
from messaging.actions.frequencies import uncount_sends
from messaging.actions.reports import NOT_SENT, adopt_reports, lock_reports
from messaging.actions.returning import admit, put_back, return_rows, skip_cancelled, still_open
from messaging.models import Attempt, Message
from messaging.providers.base import Accepted, Outcome, Refused

logger = logging.getLogger(__name__)

# What a person, or time, had ended without knowing is open to a late answer too: that it was taken is proof.
_STORE = """
WITH answer AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(outcomes)s::text[], %(provider_ids)s::text[], %(reasons)s::text[])
           AS t(id, outcome, provider_id, reason)),
held AS (
    SELECT m.id, m.credit, m.price, m.status IN ('leased', 'unknown', 'ready')
           OR a.outcome = 'sent' AND (m.outcome IN ('unknown_final', 'skipped')
               OR m.outcome = 'failed' AND m.reason LIKE %(decided)s)
           AS is_open
    FROM messaging_message m JOIN answer a USING (id) WHERE m.attempt_id = %(attempt)s ORDER BY m.id FOR UPDATE OF m)
UPDATE messaging_message m SET
    status = CASE WHEN h.is_open THEN 'done' ELSE m.status END,
    outcome = CASE WHEN h.is_open THEN a.outcome ELSE m.outcome END,
    reason = CASE WHEN h.is_open THEN a.reason ELSE m.reason END,
    last_error = CASE WHEN h.is_open THEN '' ELSE m.last_error END,
    finished_at = coalesce(m.finished_at, clock_timestamp()),
    lease_until = CASE WHEN h.is_open THEN NULL ELSE m.lease_until END,
    provider_id = CASE WHEN m.provider_id = '' THEN a.provider_id ELSE m.provider_id END,
    sent_at = CASE WHEN a.outcome = 'sent' THEN coalesce(m.sent_at, %(now)s) ELSE m.sent_at END,
    credit = CASE WHEN h.credit <> 'held' THEN m.credit WHEN a.outcome = 'sent' THEN 'settled' ELSE 'released' END
FROM answer a JOIN held h USING (id) WHERE m.id = a.id
RETURNING m.id, h.is_open, h.credit = 'held', m.credit, m.price"""


def store(call: Call, answers: Sequence[Outcome], *, now: datetime) -> None:
    """Write what the provider answered, message by message in the order of the call.

    An answer of the wrong length, or of other references, leaves all of them unknown.
    """
    references = [str(row.reference) for row in call.rows]
    if [answer.reference for answer in answers] != references:
        park(call, error="the answer does not match what was sent")
        return
    _store(call, answers, now=now)


@retrying_atomic
def _store(call: Call, answers: Sequence[Outcome], *, now: datetime) -> None:
    via = call.attempt.connection_id
    paired = [(row.id, answer) for row, answer in zip(call.rows, answers, strict=True)]
    again = _once_more([id_ for id_, answer in paired if isinstance(answer, Refused) and not answer.permanent])
    back = [row for row in call.rows if row.id in again]
    cancelled = admit(still_open(back, attempt_id=call.attempt.pk))
    lock_reports(via)
    final = [(message_id, answer) for message_id, answer in paired if message_id not in again]
    taken = {message_id for message_id, answer in final if isinstance(answer, Accepted)}
    provider_ids = _own_ids(via, [answer.provider_id for _, answer in final if isinstance(answer, Accepted)])
    parameters: dict[str, Any] = {
        "attempt": call.attempt.pk,
        "now": now,
        "decided": f"{NOT_SENT}%",
        "ids": [message_id for message_id, _ in final],
        "outcomes": ["sent" if isinstance(answer, Accepted) else "failed" for _, answer in final],
        "provider_ids": [
            provider_ids.pop(answer.provider_id, "") if isinstance(answer, Accepted) else "" for _, answer in final
        ],
        "reasons": ["" if isinstance(answer, Accepted) else answer.reason[:200] for _, answer in final],
    }
    with connection.cursor() as cursor:
        cursor.execute(_STORE, parameters)
        found = cursor.fetchall()
    moved = [(credit, price) for _, _, was_held, credit, price in found if was_held]
    proven = [pk for pk, _, _, credit, _ in found if credit == Message.Credit.RELEASED and pk in taken]
    back = still_open(back, attempt_id=call.attempt.pk, locks=True)
    not_sent = [pk for pk, was_open, *_ in found if was_open and pk not in taken] + [row.id for row in back]
    if not_sent:
        uncount_sends(call.attempt.pk, ids=not_sent)
    put_back(back, attempt_id=call.attempt.pk, blocker="provider_refused", error="refused for now", was_called=True)
    adopt_reports(connection_id=via, provider_ids=[value for value in parameters["provider_ids"] if value], now=now)
    close(call, outcome="answered")
    reference = f"attempt:{call.attempt.pk}"
    post_settled(add_up(price for credit, price in moved if credit == "settled"), reference=reference, now=now)
    post_released(add_up(price for credit, price in moved if credit == "released"), reference=reference)
    charge_house_for(proven, reference=reference)
    skip_cancelled(back, cancelled)


_TAKEN = (
    "SELECT provider_id FROM messaging_message WHERE connection_id = %s AND provider_id <> '' AND provider_id = ANY(%s)"
)


def _once_more(ids: Sequence[int]) -> set[int]:
    """Return those that may be tried again: refused for now, and not for the last time."""
    left = Message.objects.filter(pk__in=ids, attempts__lt=Message.queue.max_attempts)
    return set(left.values_list("pk", flat=True)) if ids else set()


def _own_ids(via: int, provider_ids: Sequence[str]) -> dict[str, str]:
    """Return each id that no message has yet, once: one id given twice is of one message only."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKEN, [via, list(provider_ids)])
        taken = {provider_id for (provider_id,) in cursor.fetchall()}
    if taken or len(set(provider_ids)) < len(provider_ids):
        logger.warning("connection %s gave an id twice: %s", via, sorted(taken)[:5])
    return {value: value for value in provider_ids if value not in taken}


@retrying_atomic
def park(call: Call, *, error: str) -> None:
    """Leave the call's messages unknown: perhaps sent. What is held for them stays held."""
    _open_rows(call).update(status=Status.UNKNOWN, lease_until=None, last_error=error[:2000])
    close(call, outcome="unknown", error=error)


@retrying_atomic
def hand_back(call: Call, *, blocker: str, error: str) -> None:
    """Return the call's messages to the queue: surely nothing was sent, and their attempt is not counted."""
    return_rows(call.rows, attempt_id=call.attempt.pk, blocker=blocker, error=error)
    close(call, outcome="not_sent", error=error)


@retrying_atomic
def refuse(call: Call, *, reason: str) -> None:
    """Complete the call's messages as failed: the provider refused the call as a whole, for good."""
    ids = [row.id for row in still_open(call.rows, attempt_id=call.attempt.pk, locks=True)]
    uncount_sends(call.attempt.pk, ids=ids)
    done: dict[str, Any] = {"status": Status.DONE, "outcome": Message.Outcome.FAILED, "reason": reason[:200]}
    _open_rows(call).update(**done, lease_until=None, finished_at=timezone.now(), last_error="")
    close(call, outcome="refused", error=reason)
    release_messages(ids, reference=f"attempt:{call.attempt.pk}")


def _open_rows(call: Call) -> Any:
    return Message.objects.filter(attempt=call.attempt, status__in=(Status.LEASED, Status.UNKNOWN))


def close(call: Call, *, outcome: str, error: str = "") -> None:
    Attempt.objects.filter(pk=call.attempt.pk).update(closed_at=timezone.now(), outcome=outcome, error=error)
