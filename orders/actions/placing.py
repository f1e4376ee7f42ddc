"""Placing an order through the API: the order, its reservation and its audit event are one transaction."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from audit.actions import Value, record
from config.infra import tenancy
from config.infra.transactions import retrying_atomic
from inventory.actions import reservations
from inventory.actions.reservations import DEFAULT_TTL, Request, Wanted
from inventory.models import Reservation, Variant
from inventory.rules import Destination
from orders.actions.moves import OrderError, pay
from orders.models import Commitment, Order, OrderLine
from orders.money import (
    DiscountCode,
    FaultyAmount,
    NewLine,
    PricedLine,
    ShippingLine,
    TaxLine,
    add_up_taxes,
    agree,
    amounts_of,
    price_lines,
    settle_codes,
)
from shopsync.models import Tenant
from shopsync.money import format_amount, round_amount

LARGEST_TOTAL = Decimal(10**15)


class CurrencyMismatch(OrderError):  # noqa: N818
    """Amounts are in another currency than the tenant's orders are kept in."""


class UnknownReservation(OrderError):  # noqa: N818
    """There is no reservation of the id that was named."""


class ReservationMismatch(OrderError):  # noqa: N818
    """The reservation that was named does not hold what the order asks for, or is another order's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """An order to place. `columns` are further columns of Order by name (customer, addresses, note, tags).

    What is said by lists (shipping lines, the lines' tax lines, discount codes) and by a sum too has to agree.
    """

    lines: tuple[NewLine, ...]
    currency: str = ""
    reservation_id: int | None = None
    is_paid: bool = False
    shipping_amount: Decimal | None = None
    shipping_lines: tuple[ShippingLine, ...] = ()
    discount_codes: tuple[DiscountCode, ...] = ()
    presentment_currency: str = ""
    presentment_rate: Decimal = Decimal(1)
    allow_split: bool = True
    ttl: timedelta = DEFAULT_TTL
    destination: Destination = field(default_factory=Destination)
    columns: dict[str, Any] = field(default_factory=dict)


@retrying_atomic
def place_order(*, new: NewOrder, actor: str, now: datetime) -> Order:
    """Place an order: its units are reserved (or those of the reservation named are taken over), or nothing happens.

    A paid order's units are sold at once; else they are held until the reservation's time is up.

    Raises: InsufficientStock, UnknownVariants, CurrencyMismatch, FaultyAmount, UnknownReservation, ReservationMismatch,
    ReservationEnded.
    """
    tenant = Tenant.objects.get(pk=tenancy.current_tenant_id())
    currency = new.currency or tenant.currency
    if currency != tenant.currency:
        sentence = f"Orders of this tenant are kept in {tenant.currency}; send {currency} as presentment_currency."
        raise CurrencyMismatch(sentence, field="currency")
    variants = _variants(new.lines)
    prices = {variant_id: variant.price_amount for variant_id, variant in variants.items()}
    _ensure_keepable(new, prices)
    lines = price_lines(new.lines, prices=prices, codes=new.discount_codes, currency=currency)
    order = _order(new, currency, lines, now=now)
    # 1. The units. 2. The order, which names the reservation. 3. Its lines. 4. The sale, if it is paid.
    reservation = _reserve(new, actor=actor, now=now)
    order.reservation = reservation
    Reservation.objects.filter(pk=reservation.pk).update(is_of_order=True)
    order.stock_state = Order.StockState.RESERVED
    order.save()
    if not order.name:
        order.name = f"API-{order.pk}"
        order.save(update_fields=["name"])
    _write_lines(order, new, lines, variants=variants)
    data: dict[str, Value] = {"source": "api", "lines": len(new.lines), "reservation": reservation.pk}
    record(
        name="order.created", subject=f"order:{order.pk}", actor=actor, data=data, once_key=f"order.created:{order.pk}"
    )
    if new.is_paid:
        pay(order=order, actor=actor, now=now, by_hand=order.total_amount)
    return order


def _variants(lines: Sequence[NewLine]) -> dict[int, Variant]:
    wanted = {line.variant_id for line in lines}
    found = {v.pk: v for v in Variant.objects.filter(pk__in=wanted, removed_at__isnull=True).select_related("product")}
    if unknown := sorted(wanted - set(found)):
        raise reservations.UnknownVariants(unknown)
    return found


def _ensure_keepable(new: NewOrder, prices: Mapping[int, Decimal]) -> None:
    """Refuse what no column can hold, by the part with which the order's total grows too large.

    Raises: FaultyAmount.
    """
    total = Decimal()
    for path, amount in _parts(new, prices):
        total += amount
        if total * max(new.presentment_rate, Decimal(1)) >= LARGEST_TOTAL:
            raise FaultyAmount(path, "With this the order's total is 10^15 or more, here or in the buyer's currency.")


def _parts(new: NewOrder, prices: Mapping[int, Decimal]) -> Iterator[tuple[str, Decimal]]:
    """List what adds to an order's total, each by its path; a variant's own price counts by the quantity."""
    for place, line in enumerate(new.lines):
        price, field = line.price_amount, "price_amount"
        if price is None:
            price, field = prices[line.variant_id], "quantity"
        yield f"lines.{place}.{field}", price * line.quantity
        yield from _either(
            (f"lines.{place}.tax_amount", line.tax_amount),
            [(f"lines.{place}.tax_lines.{at}.price", tax.price) for at, tax in enumerate(line.tax_lines)],
        )
    ways = [(f"shipping_lines.{place}.price", way.price) for place, way in enumerate(new.shipping_lines)]
    yield from _either(("shipping_amount", new.shipping_amount), ways)


def _either(whole: tuple[str, Decimal | None], parts: Sequence[tuple[str, Decimal]]) -> Sequence[tuple[str, Decimal]]:
    """Return the parts of a sum; the sum itself where it has none."""
    path, amount = whole
    return parts or ([] if amount is None else [(path, amount)])


def _order(new: NewOrder, currency: str, lines: Sequence[PricedLine], *, now: datetime) -> Order:
    ways = {f"shipping_lines.{place}.price": way.price for place, way in enumerate(new.shipping_lines)}
    shipping = agree("shipping_amount", new.shipping_amount, ways, currency=currency)
    sums = amounts_of(lines, shipping=shipping, currency=currency)
    amounts = {f"{name}_amount": amount for name, amount in asdict(sums).items()}
    shown_in = new.presentment_currency or currency
    if shown_in == currency and new.presentment_rate != 1:
        sentence = f"The buyer pays in {currency} too: leave the rate out, or send 1."
        raise FaultyAmount("presentment_rate", sentence)
    shown = {
        name: round_amount(amount * new.presentment_rate, shown_in)
        for name, amount in {**amounts, "shipping_amount": shipping}.items()
    }
    shown["total_amount"] = shown["subtotal_amount"] + shown["tax_amount"] + shown["shipping_amount"]
    return Order(
        source=Order.Source.API,
        currency=currency,
        presentment_currency=shown_in,
        shipping_amount=shipping,
        **amounts,
        **{f"current_{name}": amount for name, amount in amounts.items()},
        **{f"presentment_{name}": amount for name, amount in shown.items()},
        financial_status="pending",
        fulfillment_status="unfulfilled",
        placed_at=now,
        source_version="",
        **{**_lists(new, currency, discount=sums.discount), **new.columns},
    )


def _lists(new: NewOrder, currency: str, *, discount: Decimal) -> dict[str, list[dict[str, str]]]:
    """Return the lists of an order as Shopify's are kept, amounts as text."""
    codes = settle_codes("discount_codes", new.discount_codes, discount=discount, currency=currency)
    lists: dict[str, Sequence[DiscountCode | TaxLine | ShippingLine]] = {
        "discounts": codes,
        "taxes": add_up_taxes(new.lines),
        "shipping_lines": new.shipping_lines,
    }
    return {name: [_plain(entry, currency) for entry in entries] for name, entries in lists.items()}


def _plain(entry: DiscountCode | TaxLine | ShippingLine, currency: str) -> dict[str, str]:
    return {name: _written(name, value, currency) for name, value in asdict(entry).items() if value not in {None, ""}}


def _written(name: str, value: str | Decimal, currency: str) -> str:
    if isinstance(value, str):
        return value
    return format_amount(value, currency) if name in {"amount", "price"} else f"{value.normalize():f}"


def _reserve(new: NewOrder, *, actor: str, now: datetime) -> Reservation:
    totals: dict[int, int] = defaultdict(int)
    for line in new.lines:
        totals[line.variant_id] += line.quantity
    if new.reservation_id is None:
        request = Request(
            lines=tuple(Wanted(variant_id, quantity) for variant_id, quantity in totals.items()),
            ttl=new.ttl,
            destination=new.destination,
            allow_split=new.allow_split,
        )
        key = f"order:{uuid.uuid4()}"
        return reservations.reserve(request=request, idempotency_key=key, actor=actor, now=now)[0]
    return _take_over(new.reservation_id, totals, now)


def _take_over(reservation_id: int, totals: dict[int, int], now: datetime) -> Reservation:
    try:  # levels first, as everybody: to be paid locks them too
        reservation = reservations.lock_reservation(reservation_id).reservation
    except Reservation.DoesNotExist as error:
        raise UnknownReservation(f"There is no reservation {reservation_id}.", field="reservation_id") from error
    if Order.objects.filter(reservation_id=reservation_id).exists():
        raise ReservationMismatch(f"Reservation {reservation_id} is another order's.", field="reservation_id")
    if reservation.status != Reservation.Status.ACTIVE or reservation.is_overdue(now):
        raise reservations.ReservationEnded(reservation, "used for an order")
    held: dict[int, int] = defaultdict(int)
    for variant_id, quantity in reservation.lines.values_list("variant_id", "quantity"):
        held[variant_id] += quantity
    if held != totals:
        raise ReservationMismatch("The reservation holds other units than the order's lines.", field="reservation_id")
    return reservation


def _write_lines(order: Order, new: NewOrder, priced: Sequence[PricedLine], *, variants: dict[int, Variant]) -> None:
    lines = [
        OrderLine(
            tenant_id=order.tenant_id,
            order=order,
            position=position,
            variant=variants[line.variant_id],
            variant_shopify_id=variants[line.variant_id].shopify_id,
            product_shopify_id=variants[line.variant_id].product.shopify_id,
            title=variants[line.variant_id].product.title,
            variant_title=variants[line.variant_id].title,
            sku=variants[line.variant_id].sku,
            quantity=line.quantity,
            current_quantity=line.quantity,
            price_amount=cost.price,
            presentment_price_amount=_shown_price(order, cost.price, new.presentment_rate),
            discount_amount=cost.discount,
            tax_amount=cost.tax,
        )
        for position, (line, cost) in enumerate(zip(new.lines, priced, strict=True))
    ]
    written = OrderLine.objects.bulk_create(lines)
    Commitment.objects.bulk_create(
        [
            Commitment(
                tenant_id=order.tenant_id, line=line, quantity=line.quantity, item_id=variants[line.variant_id].item_id
            )
            for line in written
            if line.variant_id is not None
        ]
    )


def _shown_price(order: Order, price: Decimal, rate: Decimal) -> Decimal:
    """Say what one unit is in the buyer's currency; in the order's own it stays as fine as it is."""
    is_own = order.presentment_currency == order.currency
    return price if is_own else round_amount(price * rate, order.presentment_currency)
