"""Minutes that pass as a test says, and what the looks at the stock have told by then."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from audit.models import AuditEvent
from inventory.actions.reservations import Request, Wanted, reserve
from inventory.actions.thresholds import make_threshold
from inventory.actions.watching import watch_stock
from inventory.models import StockLevel
from shopsync.models import Alert

NOON = timezone.now().replace(microsecond=0)


class Clock:
    """Minutes that pass when a test says so; each look is a minute after the one before."""

    def __init__(self):
        self.now = NOON

    def look(self) -> int:
        self.now += timedelta(minutes=1)
        return watch_stock(now=self.now)


def count(level, available):
    """Let Shopify have counted so many."""
    mirrored = {"mirrored_available": available, "mirrored_at": timezone.now()}
    StockLevel.objects.filter(pk=level.pk).update(available=available, **mirrored)


def low_at(variant, low, recovered, location=None):
    where = None if location is None else location.pk
    return make_threshold(variant_id=variant.pk, location_id=where, low_at=low, recovered_at=recovered, actor="test")


def hold(variant, quantity, key="cart"):
    request = Request(lines=(Wanted(variant.pk, quantity),))
    made, _ = reserve(request=request, idempotency_key=key, actor="test", now=timezone.now())
    return made


def alerts(kind):
    return list(Alert.objects.filter(kind=kind).order_by("id"))


def is_open(kind):
    return [alert.is_open for alert in alerts(kind)]


def returns():
    return [event.subject for event in AuditEvent.objects.filter(name="variant.replenished").order_by("id")]
