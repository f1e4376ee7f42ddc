"""What an order of ours costs (pure): from its lines' unit prices, which may be finer than money, rounded once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from itertools import accumulate, pairwise

from shopsync.money import coarseness_of, format_amount, round_amount, unit_of


class FaultyAmount(ValueError):  # noqa: N818  (a thing that came in, not a fault of ours)
    """An amount that can't be as it was given; `field` is its path, e.g. `lines.0.tax_amount`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxLine:
    """A tax on a whole line."""

    title: str
    price: Decimal
    rate: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippingLine:
    """A way of shipping, and what it costs."""

    title: str
    price: Decimal
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountCode:
    """A code and what it took off the lines; None: what the other codes leave."""

    code: str
    amount: Decimal | None = None
    type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLine:
    """A line to buy; amounts in the order's currency, the price for one unit. None: its variant's, or by the lists."""

    variant_id: int
    quantity: int
    price_amount: Decimal | None = None
    discount_amount: Decimal | None = None
    tax_amount: Decimal | None = None
    tax_lines: tuple[TaxLine, ...] = ()


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

    So an order that lost units costs what one with just the others would have, one without any costs nothing, and fewer
    units never cost more: what is left of the goods is rounded, not the goods and what is taken off them.
    """
    known = list(lines)
    goods = sum((line.price * line.units for line in known), Decimal())
    discount = sum((line.discount * line.units / line.quantity for line in known if line.units), Decimal())
    tax = sum((line.tax * line.units / line.quantity for line in known if line.units), Decimal())
    subtotal, discount, tax = (round_amount(amount, currency) for amount in (goods - discount, discount, tax))
    return Amounts(subtotal, discount, tax, subtotal + tax + shipping)


def price_lines(
    lines: Sequence[NewLine], *, prices: Mapping[int, Decimal], codes: Sequence[DiscountCode], currency: str
) -> list[PricedLine]:
    """Say what each line costs; without a price of its own, its variant's counts (`prices`).

    Where no line names its discount, what the codes take off is spread over the lines by what they cost.

    Raises: FaultyAmount.
    """
    unit_prices = [prices[line.variant_id] if line.price_amount is None else line.price_amount for line in lines]
    goods = [price * line.quantity for price, line in zip(unit_prices, lines, strict=True)]
    discounts = _discounts(lines, goods, codes=codes, currency=currency)
    priced = []
    for place, (line, price) in enumerate(zip(lines, unit_prices, strict=True)):
        if discounts[place] > goods[place]:
            sentence = (
                f"A discount can't be more than what it is on: {format_amount(goods[place], currency)} {currency}."
            )
            raise FaultyAmount(f"lines.{place}.discount_amount", sentence)
        path = f"lines.{place}.tax"
        taxes = {f"{path}_lines.{at}.price": tax.price for at, tax in enumerate(line.tax_lines)}
        tax = agree(f"{path}_amount", line.tax_amount, taxes, currency=currency)
        amounts = {"price": price, "discount": discounts[place], "tax": tax}
        priced.append(PricedLine(quantity=line.quantity, units=line.quantity, **amounts))
    return priced


def _discounts(
    lines: Sequence[NewLine], goods: Sequence[Decimal], *, codes: Sequence[DiscountCode], currency: str
) -> list[Decimal]:
    """Say what is taken off each line: as it says itself, else its share of what the codes take off."""
    for place, line in enumerate(lines):
        ensure_fits(f"lines.{place}.discount_amount", line.discount_amount, currency)
    if not codes or any(line.discount_amount is not None for line in lines):
        return [line.discount_amount or Decimal() for line in lines]
    whole, off = sum(goods, Decimal()), sum((code.amount or Decimal() for code in codes), Decimal())
    if off > whole:
        cost = f"{format_amount(whole, currency)} {currency}"
        raise FaultyAmount("discount_codes", f"The codes can't take off more than the goods cost: {cost}.")
    return _spread(off, goods, unit=unit_of(currency))


def _spread(off: Decimal, goods: Sequence[Decimal], *, unit: Decimal) -> list[Decimal]:
    """Share an amount out by what goods cost, in whole units as far as they go; none is more than its goods cost."""
    whole = sum(goods, Decimal())
    if not off or not whole:
        return [Decimal()] * len(goods)
    ends = [(off * end / whole).quantize(unit, rounding=ROUND_HALF_UP) for end in accumulate(goods)]
    shares = [min(end - start, cost) for (start, end), cost in zip(pairwise([Decimal(), *ends]), goods, strict=True)]
    for place, cost in enumerate(goods):  # what was cut goes where there is room
        more = min(off - sum(shares, Decimal()), cost - shares[place])
        shares[place] += more
    return shares


def settle_codes(field: str, codes: Sequence[DiscountCode], *, discount: Decimal, currency: str) -> list[DiscountCode]:
    """Give the code without an amount what the others leave of the order's discount; together they are all of it.

    Raises: FaultyAmount.
    """
    for place, code in enumerate(codes):
        ensure_fits(f"{field}.{place}.amount", code.amount, currency)
    rest = discount - sum((code.amount or Decimal() for code in codes), Decimal())
    nameless = sum(code.amount is None for code in codes)
    if nameless > 1:
        raise FaultyAmount(field, "Leave out the amount of one code at most.")
    if codes and (rest < 0 or (rest and not nameless)):
        off = f"{format_amount(discount, currency)} {currency}"
        raise FaultyAmount(field, f"The amounts of the codes have to be what is taken off the lines: {off}.")
    return [replace(code, amount=rest) if code.amount is None else code for code in codes]


def add_up_taxes(lines: Iterable[NewLine]) -> list[TaxLine]:
    """Add the lines' taxes up, one of each title and rate, as Shopify has them."""
    sums: dict[tuple[str, Decimal | None], Decimal] = {}
    for tax in (tax for line in lines for tax in line.tax_lines):
        sums[tax.title, tax.rate] = sums.get((tax.title, tax.rate), Decimal()) + tax.price
    return [TaxLine(title=title, rate=rate, price=price) for (title, rate), price in sums.items()]


def agree(field: str, given: Decimal | None, parts: Mapping[str, Decimal], *, currency: str) -> Decimal:
    """Return a sum: as it was given, or of its parts, which stand in the same request.

    parts: by their paths. Raises: FaultyAmount where both were given and differ, or one is too fine.
    """
    for path, part in {**parts, field: given}.items():
        ensure_fits(path, part, currency)
    total = sum(parts.values(), Decimal())
    if given is None or not parts:
        return given or total
    if given != total:
        listed = f"{format_amount(total, currency)} {currency}"
        raise FaultyAmount(field, f"Its parts are {listed} in sum; leave it out, or give that.")
    return given


def ensure_fits(field: str, amount: Decimal | None, currency: str) -> None:
    """Let an amount pass that can be paid in its currency.

    Raises: FaultyAmount.
    """
    if amount is not None and amount % unit_of(currency):
        raise FaultyAmount(field, coarseness_of(currency))
