"""What the payments of an order come to (pure): in the order's currency, in the buyer's, or in both.

What was paid in one currency is compared in it, to the last unit. Of an order that was paid in both, the buyer's part
is weighed by the order's own ratio of totals. Whoever asked for the rest had to round it: what is missing by no more
than half a unit of the coarser currency counts as paid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from shopsync.money import round_amount, unit_of


class Paid(Protocol):
    """A payment, as far as it is added up."""

    currency: str
    amount_captured: Decimal
    amount_refunded: Decimal


@dataclass(frozen=True, slots=True)
class Prices:
    """What an order was placed for, in its own currency and in the buyer's."""

    currency: str
    total: Decimal
    shown_in: str
    shown_total: Decimal

    def takes(self, currency: str) -> bool:
        """May it be paid in this currency?"""
        return currency in {self.currency, self.shown_in}

    def show(self, amount: Decimal) -> Decimal:
        """Say what an amount of the order's is in the buyer's currency; all of it is what was shown, exactly."""
        if amount == self.total:
            return self.shown_total
        return round_amount(amount * self.shown_total / self.total, self.shown_in) if self.total else Decimal()

    def weigh(self, amount: Decimal) -> Decimal:
        """Say what an amount in the buyer's currency is in the order's; not rounded."""
        return amount * self.total / self.shown_total if self.shown_total else Decimal()

    def value(self, amount: Decimal, currency: str) -> Decimal:
        """Say what an amount in one of the two currencies is in the order's, rounded; all that was shown is all of it.

        Of a third currency it is nothing.
        """
        if currency == self.currency:
            return amount
        if currency != self.shown_in:
            return Decimal()
        return self.total if amount == self.shown_total else round_amount(self.weigh(amount), self.currency)


@dataclass(frozen=True, slots=True)
class Sums:
    """What was captured, given back, and lost to disputes, in one currency; `slack` is what may be missing of it."""

    prices: Prices
    currency: str
    captured: Decimal
    refunded: Decimal
    slack: Decimal = Decimal(0)
    lost: Decimal = Decimal(0)

    @property
    def kept(self) -> Decimal:
        """What was not given back."""
        return self.captured - self.refunded

    @property
    def left(self) -> Decimal:
        """What was neither given back nor lost."""
        return self.kept - self.lost

    def value(self, amount: Decimal) -> Decimal:
        """Say what an amount of these sums is in the order's currency, rounded to what it has."""
        if self.slack and abs(amount - self.prices.total) <= self.slack:
            return self.prices.total
        return round_amount(self.prices.value(amount, self.currency), self.prices.currency)

    def owed(self, amount: Decimal) -> Decimal:
        """Say what an amount of the order's is in the currency of these sums."""
        return amount if self.currency == self.prices.currency else self.prices.show(amount)

    def pay(self, amount: Decimal) -> bool:
        """Was an amount of the order's captured?"""
        return self.captured >= self.owed(amount) - self.slack

    def cover(self, amount: Decimal) -> bool:
        """Is an amount of the order's kept?"""
        return self.kept >= self.owed(amount) - self.slack

    def exceed(self, amount: Decimal) -> bool:
        """Is more left than an amount of the order's?"""
        return self.left > self.owed(amount) + self.slack


def add_up(prices: Prices, payments: Iterable[Paid], *, lost: Mapping[str, Decimal] | None = None) -> Sums:
    """Add the payments of an order up; what is in neither of its currencies is no part of the sum.

    lost: what their buyers took by disputes, by currency.
    """
    captured: dict[str, Decimal] = {}
    refunded: dict[str, Decimal] = {}
    taken = lost or {}
    for payment in payments:
        if payment.amount_captured and prices.takes(payment.currency):
            captured[payment.currency] = captured.get(payment.currency, Decimal()) + payment.amount_captured
            refunded[payment.currency] = refunded.get(payment.currency, Decimal()) + payment.amount_refunded
    if len(captured) == 2:
        own, shown = prices.currency, prices.shown_in
        slack = max(unit_of(own), prices.weigh(unit_of(shown))) / 2
        parts = [
            sums.get(own, Decimal()) + prices.weigh(sums.get(shown, Decimal())) for sums in (captured, refunded, taken)
        ]
        return Sums(prices, own, parts[0], parts[1], slack, parts[2])
    currency = next(iter(captured), prices.currency)
    parts = [sums.get(currency, Decimal()) for sums in (captured, refunded, taken)]
    return Sums(prices, currency, parts[0], parts[1], lost=parts[2])
