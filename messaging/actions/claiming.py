"""The transaction before a call: what is claimed, asked once more, and begun, together.

What is committed here is `calling`: nothing that a person did before (an opt-out, a pause) is missed, and nothing done
after can stop it. Rows are claimed with SKIP LOCKED, so that senders never wait for each other's.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.contrib.postgres.functions import TransactionNow
from django.db import connection

from config.infra import tenancy
from config.infra.transactions import retrying_atomic
from config.infra.work import Status
from messaging.actions.flows import empty_queue, opens_at
from messaging.actions.questions import Claimed, Questions
from messaging.models import Attempt, Flow, Message
from shopsync.models import Connection

MOST_ROUNDS = 20  # of claiming, while what was claimed turns out to be skipped


@dataclass(frozen=True, slots=True)
class Call:
    """A call about to be made; its rows are `calling` and name the attempt."""

    attempt: Attempt
    rows: list[Claimed]


# The flows of a queue that are open and have something due.
_DUE = """
FROM messaging_flow f LEFT JOIN messaging_campaign c ON c.id = f.campaign_id
LEFT JOIN messaging_sender s ON s.id = c.sender_id
WHERE f.queue_id = %(queue)s AND f.tenant_id = %(tenant)s AND f.blocker <> 'finished'
  AND (f.blocker = '' OR f.blocked_until <= clock_timestamp())
  AND EXISTS (SELECT FROM messaging_message m WHERE m.flow_id = f.id AND m.status = 'ready'
              AND m.due_at <= clock_timestamp()"""
# All of a campaign's flow is from one sender ("": the connection's own), each single message from its own.
_OPEN_FLOWS = (
    "SELECT f.*, coalesce(c.keeps_quiet_hours, FALSE) AS keeps_quiet_hours"
    + _DUE
    + """
              AND (%(sender)s::text IS NULL OR f.campaign_id IS NOT NULL OR m.sender = %(sender)s))
  AND (%(sender)s::text IS NULL OR f.campaign_id IS NULL OR coalesce(s.value, '') = %(sender)s)
ORDER BY f.id FOR SHARE OF f"""
)
_FLOWS_OF = """
SELECT f.*, coalesce(c.keeps_quiet_hours, FALSE) AS keeps_quiet_hours
FROM messaging_flow f LEFT JOIN messaging_campaign c ON c.id = f.campaign_id
WHERE f.id = ANY(ARRAY(SELECT flow_id FROM messaging_message WHERE id = ANY(%(ids)s)))
  AND (f.blocker = '' OR f.blocked_until <= clock_timestamp()) ORDER BY f.id FOR SHARE OF f"""
_FROM_WHOM = """
SELECT CASE WHEN f.campaign_id IS NOT NULL THEN coalesce(s.value, '') ELSE (
    SELECT m.sender FROM messaging_message m WHERE m.flow_id = f.id AND m.status = 'ready'
    AND m.due_at <= clock_timestamp() AND m.sender <> ALL(%(full)s) ORDER BY m.due_at, m.id LIMIT 1) END"""
_DUE_SENDERS = (
    _FROM_WHOM
    + _DUE
    + """
              AND (f.campaign_id IS NOT NULL OR m.sender <> ALL(%(full)s)))
  AND (f.campaign_id IS NULL OR coalesce(s.value, '') <> ALL(%(full)s))
ORDER BY f.priority, random() LIMIT 1"""
)

# A lock does not keep out whoever holds it: what was claimed before, and is still `ready`, is left out by its id.
_CLAIM = """
SELECT id FROM messaging_message WHERE flow_id = %(flow)s AND status = 'ready' AND due_at <= clock_timestamp()
AND id <> ALL(%(claimed)s::bigint[]) AND (%(only)s::text IS NULL OR sender = %(only)s)
ORDER BY due_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED"""

# Where all messages of a call share text and sender: the first row that can be locked decides, and of the rows that
# come next, as many as a call may have, those like it are claimed. The others are read, and not locked. The inner
# query walks along the flow's index; no text is searched for.
_LEAD = """
SELECT id, due_at, text, coalesce(nullif(sender, ''), %(own_sender)s) AS sender FROM messaging_message
WHERE flow_id = %(flow)s AND status = 'ready' AND due_at <= clock_timestamp()
  AND (%(only)s::text IS NULL OR messaging_message.sender = %(only)s)
ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED"""
_CLAIM_ALIKE = """
SELECT id FROM messaging_message
WHERE id = ANY(ARRAY(
    SELECT near.id FROM (
        SELECT id, text, sender FROM messaging_message
        WHERE flow_id = %(flow)s AND status = 'ready' AND due_at <= clock_timestamp()
          AND (due_at, id) >= (%(due_at)s, %(id)s)
        ORDER BY due_at, id LIMIT %(limit)s) near
    WHERE near.text = %(text)s AND coalesce(nullif(near.sender, ''), %(own_sender)s) = %(sender)s))
  AND status = 'ready' AND flow_id = %(flow)s
ORDER BY due_at, id FOR UPDATE SKIP LOCKED"""

_BEGIN = """
UPDATE messaging_message SET status = 'leased', token = %(token)s, attempt_id = %(attempt)s, connection_id = %(via)s,
    started_at = clock_timestamp(), attempts = attempts + 1, blocker = '', last_error = '',
    sender = CASE WHEN sender = '' THEN %(own_sender)s ELSE sender END,
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id = ANY(%(ids)s)"""


@retrying_atomic
def begin_call(
    *,
    queue_id: int,
    via: Connection,
    limit: int,
    now: datetime,
    granted_at: datetime | None = None,
    sender: str | None = None,
    shares_text: bool = False,
) -> Call | None:
    """Claim at most so many due messages of a queue, ask once more whether they may be sent, and begin their call.

    Consent, suppression, expiry, the cap on frequency and the hours of the day are asked here; a flow that somebody
    blocked is not looked at, and one that is being blocked waits for this transaction. No address stands twice.
    With a sender ("": the connection's own) only what is sent from it is claimed. Where a call shares its text, all of
    it has one text and one sender, and is of one flow.
    Returns None when nothing is left to send.
    """
    scope = {"queue": queue_id, "tenant": tenancy.current_tenant_id(), "sender": sender}
    flows = list(Flow.objects.raw(_OPEN_FLOWS, scope))  # locked in order of ids
    sharing = via if shares_text else None
    rows = _choose(flows, limit, sharing=sharing, sender=sender, now=now)
    if len(rows) < _enough(limit, sharing):
        empty_queue(queue_id)
    if not rows:
        return None
    return begin(rows, via=via, granted_at=granted_at)


def begin(rows: list[Claimed], *, via: Connection, granted_at: datetime | None) -> Call:
    """Note the attempt to call these messages, which were chosen in the same transaction."""
    attempt = Attempt(connection=via, message_count=len(rows), granted_at=granted_at, started_at=TransactionNow())
    attempt.save()
    parameters: dict[str, Any] = {
        "token": uuid.uuid4(),
        "attempt": attempt.pk,
        "via": via.pk,
        "own_sender": via.sender,  # a reply to this number is to whoever wrote from it last
        "lease": Message.queue.lease_seconds,
        "ids": [row.id for row in rows],
    }
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, parameters)
    return Call(attempt, rows)


def pick_sender(queue_id: int, *, full: Sequence[str] = ()) -> str | None:
    """Pick the sender of a queue's next call among those with something due, but for those that have no room; "": the
    connection's own; None: there is none. Single messages go first, then any."""
    scope: dict[str, Any] = {"queue": queue_id, "tenant": tenancy.current_tenant_id(), "full": list(full)}
    with connection.cursor() as cursor:
        cursor.execute(_DUE_SENDERS, scope)
        row = cursor.fetchone()
    return row[0] if row else None


def lock_flows_of(ids: Sequence[int]) -> list[Flow]:
    """Lock the flows of these messages that are open, in the order of their ids: who blocks one waits."""
    return list(Flow.objects.raw(_FLOWS_OF, {"ids": list(ids)}))


def choose_again(ids: Sequence[int], flows: Sequence[Flow], *, now: datetime) -> list[Claimed]:
    """Ask once more of these messages, which are ready again, whether they may be sent now; return those that may."""
    chosen, questions = dict[str, Claimed](), Questions()
    for flow in flows:
        if opens_at(flow, now=now) == now:
            locked = Message.objects.select_for_update(of=("self",)).filter(flow=flow, status=Status.READY, pk__in=ids)
            mine = list(locked.order_by("due_at", "pk").values_list("pk", flat=True))
            for row in questions.ask(mine, flow, taken=chosen):
                chosen[row.address] = row
    return list(chosen.values())


def _choose(
    flows: list[Flow], limit: int, *, sharing: Connection | None, sender: str | None, now: datetime
) -> list[Claimed]:
    """Claim what goes into one call; with a connection whose calls share their text, what is alike of one flow; with a
    sender, of single messages only what is from it."""
    chosen, questions = dict[str, Claimed](), Questions()
    random.shuffle(flows)  # no campaign of a tenant waits for another's end
    for flow in sorted(flows, key=attrgetter("priority")):
        if opens_at(flow, now=now) != now:
            continue
        claim: dict[str, Any] = {"flow": flow.pk, "limit": limit, "only": sender if flow.campaign_id is None else None}
        if sharing is None:
            _fill(chosen, flow, claim, questions=questions)
        else:
            _fill_alike(chosen, flow, {**claim, "own_sender": sharing.sender}, questions=questions)
        if len(chosen) >= _enough(limit, sharing):
            break
    return list(chosen.values())


def _enough(limit: int, sharing: Connection | None) -> int:
    return limit if sharing is None else 1


def _fill(chosen: dict[str, Claimed], flow: Flow, claim: dict[str, Any], *, questions: Questions) -> None:
    """Add what may be sent of a flow, by address, until there is enough or nothing more is due."""
    claimed: list[int] = []
    for _ in range(MOST_ROUNDS):
        wanted = claim["limit"] - len(chosen)
        if wanted < 1:
            return
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, {**claim, "claimed": claimed, "limit": wanted})
            ids = [row[0] for row in cursor.fetchall()]
        for row in questions.ask(ids, flow, taken=chosen):
            chosen[row.address] = row
        claimed += ids
        if len(ids) < wanted:
            return


def _fill_alike(chosen: dict[str, Claimed], flow: Flow, claim: dict[str, Any], *, questions: Questions) -> None:
    """Add what may be sent of a flow and shares text and sender with the first that may be, by address."""
    for _ in range(MOST_ROUNDS):
        with connection.cursor() as cursor:
            cursor.execute(_LEAD, claim)
            lead = cursor.fetchone()
            if lead is None:
                return
            cursor.execute(_CLAIM_ALIKE, claim | dict(zip(("id", "due_at", "text", "sender"), lead, strict=True)))
            ids = [row[0] for row in cursor.fetchall()]
        for row in questions.ask(ids, flow, taken=chosen):
            chosen[row.address] = row
        if chosen:  # those that were skipped leave room, and it stays empty
            return
