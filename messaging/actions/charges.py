"""What messages cost, taken from what was held for them: each message is settled or released once.

The message's own `credit` says which: it moves in the statement that finds it still held, so that whoever comes second
(a report after the answer, an answer after the report) moves nothing. Accounts are locked last, and briefly.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from django.db import connection

from config.infra import tenancy
from messaging.actions.credits import charge_house, release_credits, settle_credits
from messaging.models import Message

Credit = Message.Credit
ACTOR = "sending"

_MOVE = """
UPDATE messaging_message SET credit = %(to)s
WHERE id = ANY(%(ids)s) AND tenant_id = %(tenant)s AND credit = %(was)s RETURNING price"""


def settle_messages(ids: Sequence[int], *, reference: str, now: datetime) -> Decimal:
    """Pay what is held for messages that a provider took; return how much. Call it last in a transaction."""
    total = _move(ids, was=Credit.HELD, to=Credit.SETTLED)
    post_settled(total, reference=reference, now=now)
    return total


def release_messages(ids: Sequence[int], *, reference: str) -> Decimal:
    """Give back what is held for messages that surely were not sent; return how much."""
    total = _move(ids, was=Credit.HELD, to=Credit.RELEASED)
    post_released(total, reference=reference)
    return total


def charge_house_for(ids: Sequence[int], *, reference: str) -> Decimal:
    """Let the house pay for messages whose hold was given up and that were delivered after all; return how much."""
    total = _move(ids, was=Credit.RELEASED, to=Credit.HOUSE)
    if total:
        charge_house(amount=total, key=_key(reference, "house"), reference=reference, actor=ACTOR)
    return total


def post_settled(total: Decimal, *, reference: str, now: datetime) -> None:
    """Post what was settled of messages that are marked so already, in the same transaction."""
    if total:
        settle_credits(amount=total, key=_key(reference, "settled"), reference=reference, actor=ACTOR, now=now)


def post_released(total: Decimal, *, reference: str) -> None:
    """Post what was released of messages that are marked so already, in the same transaction."""
    if total:
        release_credits(amount=total, key=_key(reference, "released"), reference=reference, actor=ACTOR)


def add_up(prices: Iterable[Decimal]) -> Decimal:
    """Add up prices, in credits."""
    return sum(prices, start=Decimal(0))


def _move(ids: Sequence[int], *, was: str, to: str) -> Decimal:
    if not ids:
        return Decimal(0)
    with connection.cursor() as cursor:
        cursor.execute(_MOVE, {"ids": list(ids), "tenant": tenancy.current_tenant_id(), "was": was, "to": to})
        return add_up(price for (price,) in cursor.fetchall())


def _key(reference: str, word: str) -> str:
    return f"{reference}:{word}:{uuid.uuid4().hex}"
