"""What an order of ours costs (pure): from its lines' unit prices, which may be finer than money, rounded once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from shopsync.money import decimals_of, format_amount, round_amount, unit_of


class FaultyAmount(ValueError):  # noqa: N818  (a thing that came in, not a fault of ours)
    """An amount that can't be as it was given; `field` is its path, e.g. `lines.0.tax_amount`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLine:
    """A line to buy; amounts in the order's currency, the price for one unit."""

    variant_id: int
    quantity: int
    price_amount: Decimal | None = None
    discount_amount: Decimal = Decimal(0)
    tax_amount: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedLine:
    """A line with what one unit costs, and what is taken off and added for all that were bought; `units` count now."""

    price: Decimal
    quantity: int
    units: int
    discount: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True)
class Amounts:
    """What lines come to; `subtotal` is less the discount."""

    subtotal: Decimal
    discount: Decimal
    tax: Decimal
    total: Decimal


def amounts_of(lines: Iterable[PricedLine], *, shipping: Decimal, currency: str) -> Amounts:
    """Say what lines cost with the units that count now: each sum is rounded once, over the whole order.

    So an order that lost units costs what one with just the others would have, and one without any costs nothing.
    """
    known = list(lines)
    goods = sum((line.price * line.units for line in known), Decimal())
    discount = sum((line.discount * line.units / line.quantity for line in known if line.units), Decimal())
    tax = sum((line.tax * line.units / line.quantity for line in known if line.units), Decimal())
    goods, discount, tax = (round_amount(amount, currency) for amount in (goods, discount, tax))
    return Amounts(goods - discount, discount, tax, goods - discount + tax + shipping)


def price_lines(lines: Sequence[NewLine], *, prices: Mapping[int, Decimal], currency: str) -> list[PricedLine]:
    """Say what each line costs; without a price of its own, its variant's counts.

    prices: by variant. Raises: FaultyAmount.
    """
    priced = []
    for place, line in enumerate(lines):
        price = prices[line.variant_id] if line.price_amount is None else line.price_amount
        ensure_fits(f"lines.{place}.discount_amount", line.discount_amount, currency)
        ensure_fits(f"lines.{place}.tax_amount", line.tax_amount, currency)
        if line.discount_amount > price * line.quantity:
            goods = format_amount(price * line.quantity, currency)
            sentence = f"A discount can't be more than what it is on: {goods} {currency}."
            raise FaultyAmount(f"lines.{place}.discount_amount", sentence)
        amounts = {"price": price, "discount": line.discount_amount, "tax": line.tax_amount}
        priced.append(PricedLine(quantity=line.quantity, units=line.quantity, **amounts))
    return priced


def ensure_fits(field: str, amount: Decimal, currency: str) -> None:
    """Let an amount pass that is no finer than its currency.

    Raises: FaultyAmount.
    """
    if amount % unit_of(currency):
        raise FaultyAmount(field, f"{currency} has {decimals_of(currency)} decimals.")
