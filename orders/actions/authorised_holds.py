"""Authorised orders of our own: their units stay held for as long as the money can be captured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from inventory.actions.order_holds import hold_until, is_held
from inventory.actions.reservations import DEFAULT_TTL, InsufficientStock
from orders.actions.own_stock import reserve_anew
from orders.models import Order, Payment
from shopsync.actions.alerts import close_alert, raise_alert

# How long a card's authorisation is good where the gateway does not say.
# Source: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method
AUTHORISED_FOR = timedelta(days=7)
UNHELD = "order.authorised_unallocated"


def follow_authorisation(order: Order, payments: Sequence[Payment], *, now: datetime) -> None:
    """Hold a locked order's units until the last of its authorisations ends; when none is left, for a while more.

    That goes for authorisations of a part as well, whatever was captured beside them. An order whose time was up before
    is given units anew, else an alert asks not to capture the money.
    """
    ends = [p.expires_at or p.last_event_at + AUTHORISED_FOR for p in payments if p.status == "authorized"]
    if not ends:
        _end(order, now=now)
        return
    if _has_lost_units(order) and max(ends) > now and not order.is_cancelled:
        try:
            with transaction.atomic():
                reserve_anew(order, actor="system", now=now)
        except InsufficientStock as error:
            message = f"{order} is authorised, its reservation had expired, and the units are gone. {error}"
            raise_alert(kind=UNHELD, subject=f"order:{order.pk}", message=message[:500], severity="critical")
            return
    if order.stock_state == Order.StockState.RESERVED and order.reservation_id is not None:
        hold_until(reservation_id=order.reservation_id, until=max(ends), actor="system")
    if order.stock_state in {Order.StockState.RESERVED, Order.StockState.COMMITTED}:
        close_alert(kind=UNHELD, subject=f"order:{order.pk}")


def _has_lost_units(order: Order) -> bool:
    """Is nothing held for it any more, whether it was told so or not?"""
    if order.stock_state != Order.StockState.RESERVED:
        return order.stock_state == Order.StockState.UNALLOCATED
    assert order.reservation_id is not None  # order_holds_stock_through_its_reservation
    return not is_held(reservation_id=order.reservation_id)


def _end(order: Order, *, now: datetime) -> None:
    """Let an order that is not authorised any more keep its units no longer than one that was just placed."""
    close_alert(kind=UNHELD, subject=f"order:{order.pk}")
    if order.financial_status == "authorized" and order.stock_state == Order.StockState.RESERVED:
        assert order.reservation_id is not None  # order_holds_stock_through_its_reservation
        hold_until(reservation_id=order.reservation_id, until=now + DEFAULT_TTL, actor="system", shorten=True)
