"""What is asked once more of messages in the transaction that begins their call, after their rows were locked.

Consent, suppression, expiry, a single message's sender, the cap on frequency, the allowed countries, the recipient's
place and the hours there: whatever was committed before stops the message here.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db import connection

from messaging.actions.charges import add_up, post_released
from messaging.actions.flows import Places, place_of
from messaging.actions.frequencies import count_sends
from messaging.actions.prices import NOT_ALLOWED, allowed_countries, country_of
from messaging.actions.suppressions import key_pads
from messaging.models import Flow, Message
from messaging.rules import decide_at_call


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message of a call: what is sent, and to whom."""

    id: int
    campaign_id: int | None
    channel: str
    address: str
    reference: uuid.UUID
    sender: str
    text: str
    subject: str
    html: str
    purpose: str


# In a statement of its own, so that it sees what was committed until the rows were locked.
_ASK = """
SELECT m.id, m.campaign_id, m.channel, m.address, m.reference, m.sender, m.text, coalesce(b.subject, ''),
       coalesce(b.html, ''), m.purpose, s.state,
       s.lapsed_at IS NULL AND s.address IN ('', m.address), x.id IS NOT NULL,
       coalesce(c.expires_at <= clock_timestamp(), FALSE),
       m.campaign_id IS NULL AND m.sender <> '' AND coalesce((SELECT NOT bool_or(o.is_active) FROM messaging_sender o
           WHERE o.tenant_id = m.tenant_id AND o.channel = m.channel AND o.value = m.sender), FALSE)
FROM messaging_message m
LEFT JOIN messaging_consentstate s ON s.contact_id = m.contact_id AND s.channel = m.channel
LEFT JOIN messaging_suppression x ON x.tenant_id = m.tenant_id AND x.channel = m.channel AND x.lifted_at IS NULL
      AND x.address_key = messaging_address_key(%(inner)s, %(outer)s, m.channel, m.address)
LEFT JOIN messaging_campaign c ON c.id = m.campaign_id
LEFT JOIN messaging_messagebody b ON b.message_id = m.id
WHERE m.id = ANY(%(ids)s) ORDER BY m.due_at, m.id"""

_SKIP = """
WITH found AS (SELECT * FROM unnest(%(ids)s::bigint[], %(reasons)s::text[]) AS t(id, reason)),
held AS (SELECT m.id, m.price FROM messaging_message m JOIN found USING (id) WHERE m.credit = 'held')
UPDATE messaging_message m SET status = 'done', outcome = 'skipped', reason = found.reason, blocker = '',
    finished_at = clock_timestamp(), credit = CASE WHEN m.credit = 'held' THEN 'released' ELSE m.credit END
FROM found LEFT JOIN held USING (id) WHERE m.id = found.id AND m.status = 'ready' RETURNING held.price"""

_UNPREPARE = """
WITH moved AS (SELECT id, price, credit FROM messaging_message WHERE id = ANY(%s) AND status = 'ready')
UPDATE messaging_message m SET flow_id = NULL,
    credit = CASE WHEN moved.credit = 'held' THEN 'released' ELSE m.credit END
FROM moved WHERE m.id = moved.id RETURNING CASE WHEN moved.credit = 'held' THEN moved.price END"""
_OF_PLACE = ("address", "contact__country", "contact__region", "contact__timezone", "contact__phone")


class Questions:
    """What is asked of the messages of one call, by the tenant's settings as they are when it begins: read once."""

    def __init__(self) -> None:
        self._allowed = allowed_countries()

    @cached_property
    def _places(self) -> Places:
        return Places(keeps_quiet_hours=True)

    def ask(self, ids: list[int], flow: Flow, *, taken: Container[str]) -> list[Claimed]:
        """Return those that may be sent; the others are skipped, or wait: for another call when their address is taken
        or stands twice (those are not counted), to be prepared anew when they are elsewhere by now."""
        return _ask(self._in_place(ids, flow), taken=taken)

    def _in_place(self, ids: list[int], flow: Flow) -> list[int]:
        """Return the messages that may still go where and when they were prepared for.

        Who has moved, or whose hours an owner has changed, is prepared anew; whose country is no longer written to is
        skipped.
        """
        keeps_hours: bool = getattr(flow, "keeps_quiet_hours", False)
        if not ids or not (keeps_hours or self._allowed):
            return ids
        place = place_of(flow)
        needs_country = bool(self._allowed) or (keeps_hours and self._places.need_country)
        moved, abroad = list[int](), dict[int, str]()
        for row in Message.objects.filter(pk__in=ids).select_related("contact").only(*_OF_PLACE):
            country = country_of(phone=row.address, known=row.contact.country) if needs_country else ""
            if self._allowed and country not in self._allowed:
                abroad[row.pk] = NOT_ALLOWED
            elif keeps_hours and self._places.has_moved(row, country, since=place):
                moved.append(row.pk)
        _unprepare(moved)
        skip_messages(abroad)
        gone = {*moved, *abroad}
        return [pk for pk in ids if pk not in gone]


def _unprepare(ids: Sequence[int]) -> None:
    """Let ready messages be prepared anew, and give back what was held for them.

    The price stays: of one that was called before, and is sent again, a report may prove yet that it was delivered.
    """
    if not ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(_UNPREPARE, [list(ids)])
        held = [price for (price,) in cursor.fetchall() if price]
    post_released(add_up(held), reference=f"message:{min(ids)}")


def _ask(ids: list[int], *, taken: Container[str]) -> list[Claimed]:
    if not ids:
        return []
    inner, outer = key_pads()
    with connection.cursor() as cursor:
        cursor.execute(_ASK, {"ids": ids, "inner": inner, "outer": outer})
        found = [(Claimed(*row[:10]), *row[10:]) for row in cursor.fetchall()]
    allowed, skipped = dict[str, Claimed](), dict[int, str]()
    for row, state, is_for_address, is_suppressed, is_expired, is_put_away in found:
        skip = decide_at_call(
            consent=state if is_for_address else None,
            is_suppressed=is_suppressed,
            is_expired=is_expired,
            needs_consent=row.purpose == Message.Purpose.MARKETING,
            confirms_opt_out=row.purpose == Message.Purpose.CONFIRMATION,
            is_put_away=is_put_away,
        )
        if skip is not None:
            skipped[row.id] = skip.reason
        elif row.address not in taken:
            allowed.setdefault(row.address, row)
    capped = count_sends([row for row in allowed.values() if row.campaign_id is not None])
    skipped |= dict.fromkeys(capped, "frequency_cap")
    skip_messages(skipped)
    return [row for row in allowed.values() if row.id not in capped]


def skip_messages(reasons: dict[int, str]) -> None:
    """Complete ready messages as skipped, each with its reason, and give back what was held for them."""
    if not reasons:
        return
    parameters: dict[str, Any] = {"ids": list(reasons), "reasons": [reason[:200] for reason in reasons.values()]}
    with connection.cursor() as cursor:
        cursor.execute(_SKIP, parameters)
        held = [price for (price,) in cursor.fetchall() if price]
    post_released(add_up(held), reference=f"message:{min(reasons)}")
