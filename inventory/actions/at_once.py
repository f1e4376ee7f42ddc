"""A reservation in one statement, where there is nothing to choose (inventory/migrations/0161_promises.py)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction

from config.infra import tenancy
from config.infra.prepared import fetch_one
from config.infra.transactions import is_broken_off
from inventory.models import Reservation

CREATED = "reservation.created"
_TOO_LITTLE = "RS001"
_OVERSOLD = "stocklevel_holds_no_more_than_available"
_FIELDS = [field.attname for field in Reservation._meta.concrete_fields]
_COLUMNS = ", ".join(f"r.{field.column}" for field in Reservation._meta.concrete_fields)
_RESERVE = f"""
SELECT {_COLUMNS} FROM inventory_reserve_at_once(%(tenant)s, %(key)s, %(digest)s, %(reference)s, %(actor)s,
    %(expires_at)s, %(variants)s, %(quantities)s, %(may_split)s) AS r WHERE r.id IS NOT NULL"""  # noqa: S608


def reserve_at_once(
    *,
    totals: Mapping[int, int],
    may_split: bool,
    reference: str,
    idempotency_key: str,
    digest: str,
    actor: str,
    expires_at: datetime,
) -> Reservation | None:
    """Promise these units by variant if each variant lies at one active location that has them, in one statement.

    Outside a transaction the statement is one by itself, so that its locks last for no round trip. None: nothing was
    done, and the long way is to be gone.
    """
    if settings.EVENT_SUBSCRIBERS.get(CREATED):
        return None  # somebody is to hear of it: record() knows how
    asked = {
        "tenant": tenancy.current_tenant_id(),
        "key": idempotency_key,
        "digest": digest,
        "reference": reference,
        "actor": actor,
        "expires_at": expires_at,
        "variants": list(totals),
        "quantities": list(totals.values()),
        "may_split": may_split,
    }
    try:
        row = _run(asked)
    except DatabaseError as error:
        is_over = isinstance(error, OperationalError) and is_broken_off(error) and not connection.in_atomic_block
        is_short = getattr(error.__cause__, "sqlstate", None) == _TOO_LITTLE or would_oversell(error)
        if not is_over and not is_short:
            raise
        return None  # the long way says what is short, and begins again as often as it takes
    return None if row is None else Reservation.from_db("default", _FIELDS, row)


def would_oversell(error: DatabaseError) -> bool:
    """Did the database refuse to promise more than there is? Then what was read of it, or of its policy, is over."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return getattr(diagnosis, "constraint_name", None) == _OVERSOLD


def _run(asked: Mapping[str, Any]) -> tuple[Any, ...] | None:
    if not connection.in_atomic_block:
        return fetch_one(_RESERVE, asked)  # may be repeated: the key sees to it
    with transaction.atomic(), connection.cursor() as cursor:  # too little undoes this much
        cursor.execute(_RESERVE, asked)
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row
