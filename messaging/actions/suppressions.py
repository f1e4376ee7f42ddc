"""Suppressions: addresses that are not written to, and how that ends."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.conf import settings
from django.db import transaction

from audit.actions import Value, record
from config.infra import tenancy
from messaging.models import Suppression
from shopsync.identity import normalise_email, normalise_phone

Reason = Suppression.Reason
_BLOCK = 64  # of SHA-256, in bytes: what HMAC pads its key to


class NotSuppressed(ValueError):  # noqa: N818
    """There is nothing to lift."""


def address_key(channel: str, address: str) -> bytes:
    """Return the keyed digest by which an address is known on a channel: 32 bytes, of the normalised address."""
    return hmac.digest(_key(), f"{channel}|{address}".encode(), "sha256")


def key_pads() -> tuple[bytes, bytes]:
    """Return HMAC's inner and outer pads of the key, with which SQL (messaging_address_key) makes the same digest."""
    key = _key().ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)


def _key() -> bytes:
    """Derive the suppressions' own key: 32 bytes."""
    return hashlib.sha256(b"suppressions|" + settings.DIGEST_KEY.encode()).digest()


def normalise_address(channel: str, address: str, *, country: str = "") -> str:
    """Write an address as contacts have it; empty when it can't be one on this channel."""
    return normalise_email(address) if channel == "email" else normalise_phone(address, country)


@transaction.atomic(savepoint=False)
def suppress(*, channel: str, addresses: Iterable[str], reason: str, source: str, actor: str) -> int:
    """Write to these (normalised) addresses no more; return how many were not suppressed before.

    The oldest reason stays: who replied STOP and bounces later is still one who replied STOP.
    """
    rows = [
        Suppression(
            channel=channel,
            address=address,
            address_key=address_key(channel, address),
            reason=reason,
            source=source[:120],
            actor=actor,
        )
        for address in sorted(set(addresses))
    ]
    before = _count_now(channel, rows)
    Suppression.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1000)
    added = _count_now(channel, rows) - before
    if added:
        subject = f"tenant:{tenancy.current_tenant_id()}"
        data: dict[str, Value] = {"channel": channel, "reason": reason, "addresses": added, "source": source[:120]}
        record(name="addresses.suppressed", subject=subject, actor=actor, data=data)
    return added


def _count_now(channel: str, rows: Sequence[Suppression]) -> int:
    keys = [row.address_key for row in rows]
    return Suppression.objects.filter(channel=channel, address_key__in=keys, lifted_at__isnull=True).count()


@transaction.atomic(savepoint=False)
def lift_suppression(
    *, channel: str, address: str, actor: str, now: datetime, reasons: Iterable[str] = Reason.values
) -> bool:
    """Write to an address again, if it was suppressed for one of these reasons; say whether it was."""
    rows = Suppression.objects.select_for_update().filter(
        channel=channel, address_key=address_key(channel, address), lifted_at__isnull=True, reason__in=list(reasons)
    )
    row = rows.first()
    if row is None:
        return False
    row.lifted_at, row.lifted_by = now, actor
    row.save(update_fields=["lifted_at", "lifted_by"])
    data = {"channel": channel, "reason": row.reason}
    record(name="address.unsuppressed", subject=f"suppression:{row.pk}", actor=actor, data=data)
    return True


@transaction.atomic(savepoint=False)
def lift_by_hand(*, suppression_id: int, why: str, actor: str, now: datetime) -> Suppression:
    """Write to an address again because a person says so; the reason is kept beside who it was.

    Raises: NotSuppressed when it was lifted before; Suppression.DoesNotExist.
    """
    row = Suppression.objects.select_for_update().get(pk=suppression_id)
    if row.lifted_at is not None:
        raise NotSuppressed(f"It was lifted on {row.lifted_at:%Y-%m-%d} by {row.lifted_by}; there is nothing to lift.")
    row.lifted_at, row.lifted_by, row.lifted_why = now, actor, why
    row.save(update_fields=["lifted_at", "lifted_by", "lifted_why"])
    data = {"channel": row.channel, "reason": row.reason}
    record(name="address.unsuppressed", subject=f"suppression:{row.pk}", actor=actor, data=data)
    return row


def suppressed_of(channel: str, addresses: Iterable[str]) -> set[str]:
    """Say which of these addresses are suppressed on a channel."""
    keys = {address_key(channel, address): address for address in addresses}
    rows = Suppression.objects.filter(channel=channel, address_key__in=list(keys), lifted_at__isnull=True)
    return {keys[bytes(key)] for key in rows.values_list("address_key", flat=True)}
