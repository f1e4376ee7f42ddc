"""What the demo reads back: totals to check, and the rows of this run as tables.

Imported after the settings are ready.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from django.db.models import Count, Max, Q, Sum

from config.infra import tenancy
from config.infra.work import Status
from config.local.session import say
from config.local.story import Chapter, Totals
from config.local.tenants import DemoTenant
from inventory.models import Product, Reservation, StockLevel, StockMovement
from messaging.models import Attempt, ConsentEntry, Contact, DeliveryReport, Message
from messaging.queries import consent_on, held_up
from orders.models import GatewayRefund, Order, OrderLine, Payment, Shipment
from shopsync.models import RefusedDelivery, WebhookEvent


def read_totals(tenants: Sequence[DemoTenant]) -> Totals:
    """Count everything that the story is about, per tenant and for everybody."""
    totals: Totals = Counter()
    for demo in tenants:
        with tenancy.tenant_scope(demo.tenant_id):
            totals.update({(demo.label, noun): count for noun, count in _tenant_totals(demo).items()})
    for reason, count in RefusedDelivery.objects.values_list("reason").annotate(Sum("count")).order_by("reason"):
        totals["", f"refused: {reason}"] = count
    return totals


def _tenant_totals(demo: DemoTenant) -> dict[str, int]:
    deliveries = WebhookEvent.objects.filter(source="shopify")
    messages = Message.objects.all()
    delivered, skipped = Message.Outcome.DELIVERED, Message.Outcome.SKIPPED
    movements = StockMovement.objects.exclude(reason="expired")  # promises of an earlier start end at any time
    without_consent = messages.filter(outcome=skipped, reason="no_consent")
    return {
        "deliveries stored": deliveries.exclude(status=Status.QUARANTINED).count(),
        "deliveries processed": deliveries.filter(status=Status.DONE).count(),
        "deliveries quarantined": deliveries.filter(status=Status.QUARANTINED).count(),
        "deliveries buried": deliveries.filter(status=Status.BURIED).count(),
        "duplicates counted": deliveries.aggregate(total=Sum("duplicates"))["total"] or 0,
        "products": Product.objects.count(),
        "stock levels": StockLevel.objects.count(),
        "counts of Shopify": movements.filter(reason="snapshot").count(),
        "movements of our count": movements.count() if demo.counts_here else 0,
        "orders": Order.objects.count(),
        "orders paid": Order.objects.filter(paid_at__isnull=False).count(),
        "orders cancelled": Order.objects.filter(cancelled_at__isnull=False).count(),
        "order lines": OrderLine.objects.count(),
        "contacts": Contact.objects.count(),
        "consent statements": ConsentEntry.objects.count(),
        "messages delivered": messages.filter(outcome=delivered).count(),
        "messages skipped without consent": without_consent.count(),
        "messages in another state": messages.exclude(outcome__in=(delivered, skipped)).count(),
        "calls without an answer": Attempt.objects.filter(outcome="unknown").count(),
        "delivery reports": DeliveryReport.objects.count(),
        "reservations committed": Reservation.objects.filter(status=Reservation.Status.COMMITTED).count(),
        "reservations released": Reservation.objects.filter(status=Reservation.Status.RELEASED).count(),
        "payments captured": Payment.objects.filter(amount_captured__gt=0).count(),
        "refunds succeeded": GatewayRefund.objects.filter(status=GatewayRefund.Status.SUCCEEDED).count(),
        "labels bought": Shipment.objects.filter(labelled_at__isnull=False).count(),
        "parcels delivered": Shipment.objects.filter(status=Shipment.Status.DELIVERED).count(),
    }


def compare(before: Totals, after: Totals, expected: Totals) -> list[str]:
    """Say what came of the story and is not what was expected; empty when all of it is right."""
    wrong = []
    for label, noun in sorted({*before, *after, *expected}):
        came, wanted = after[label, noun] - before[label, noun], expected[label, noun]
        if came != wanted:
            wrong.append(f"{label or 'everybody'}: {noun}: {came} came, {wanted} expected")
    return wrong


def say_expected(expected: Totals) -> None:
    """Print the totals that were expected, and came."""
    labels = list(dict.fromkeys(label for label, _ in expected if label))
    nouns = list(dict.fromkeys(noun for label, noun in expected if label))
    rows = [[noun, *(str(expected[label, noun]) for label in labels)] for noun in nouns]
    say_table(["this run added", *labels], rows)
    say_table(["at the door", ""], [[noun, str(count)] for (label, noun), count in expected.items() if not label])


# --- the rows of this run ----------------------------------------------------------------------------------------


def say_processed(tenants: Sequence[DemoTenant], since: dict[str, int]) -> None:
    """Print what was worked on since the inbox's rows `since`, and move those marks on."""
    for demo in tenants:
        with tenancy.tenant_scope(demo.tenant_id):
            rows = WebhookEvent.objects.filter(pk__gt=since.get(demo.label, 0))
            done = rows.filter(status=Status.DONE).values_list("created_at", "finished_at")
            slowest = max(((end - start).total_seconds() for start, end in done if end), default=0.0)
            by_topic = rows.filter(status=Status.DONE).values_list("topic").annotate(Count("pk")).order_by("topic")
            topics = ", ".join(f"{count} {topic}" for topic, count in by_topic)
            since[demo.label] = rows.aggregate(last=Max("pk"))["last"] or since.get(demo.label, 0)
        if done:
            say(
                f"   {demo.label:<10}  processed {len(done)}: {topics}; the slowest {slowest:.2f} s after it was stored"
            )


def newest_delivery(demo: DemoTenant) -> int:
    """Return the number of the newest row in a tenant's inbox."""
    with tenancy.tenant_scope(demo.tenant_id):
        return WebhookEvent.objects.aggregate(last=Max("pk"))["last"] or 0


def say_rows(demo: DemoTenant, chapter: Chapter) -> None:
    """Print the orders, levels, contacts, messages and quarantined deliveries that this run made."""
    with tenancy.tenant_scope(demo.tenant_id):
        orders = Order.objects.filter(shopify_id__in=[bought.shopify_id for bought in chapter.purchases.values()])
        say(f"\n   {demo.shop_domain} ({demo.name})")
        say_table(
            ["order", "buyer", "total", "status", "lines"], (_order_row(order) for order in orders.order_by("pk"))
        )
        items = [chapter.item.inventory_item_id, chapter.other_item.inventory_item_id]
        levels = StockLevel.objects.filter(item__shopify_id__in=items).select_related("item").order_by("pk")
        say_table(["stock", "available", "movements"], (_level_row(level) for level in levels))
        wanted = [str(customer.shopify_id) for customer in chapter.customers]
        contacts = Contact.objects.filter(identities__kind="shopify_customer", identities__value__in=wanted)
        say_table(["contact", "e-mail", "phone", "SMS", "e-mail consent"], map(_contact_row, contacts.order_by("pk")))
        messages = Message.objects.filter(contact__in=contacts).select_related("contact").order_by("pk")
        say_table(["message to", "state", "text"], map(_message_row, messages))


def say_sold(demo: DemoTenant, *, order_id: int, variant_ids: Sequence[int]) -> None:
    """Print an order of our own with its payment and parcel, and the levels of what was sold."""
    with tenancy.tenant_scope(demo.tenant_id):
        say(f"\n   {demo.shop_domain} ({demo.name})")
        order = Order.objects.get(pk=order_id)
        say_table(["order", "buyer", "total", "status", "lines"], [_order_row(order)])
        payments = Payment.objects.filter(order=order).order_by("pk")
        paid = [
            [f"{p.gateway} {p.provider_id}", f"{p.amount_captured:.2f}", f"{p.amount_refunded:.2f}"] for p in payments
        ]
        say_table(["payment", "captured", "given back"], paid)
        parcels = Shipment.objects.filter(order=order).order_by("pk")
        say_table(["parcel", "carried by", "status"], [[p.tracking_number, p.company, p.status] for p in parcels])
        levels = StockLevel.objects.filter(item__variants__in=variant_ids).select_related("location").order_by("pk")
        heads = ["stock", "in", "available", "on hand", "movements"]
        say_table(heads, (_own_level_row(level) for level in levels))


def say_quarantined(demo: DemoTenant, since: int) -> None:
    """Print why deliveries were set aside."""
    with tenancy.tenant_scope(demo.tenant_id):
        rows = WebhookEvent.objects.filter(pk__gt=since, status=Status.QUARANTINED).order_by("pk")
        for row in rows:
            say(f"   {demo.label:<10}  quarantined {row.topic}: {row.last_error}")


def message_of(demo: DemoTenant, order_shopify_id: int) -> Message | None:
    """Return the message that an order led to."""
    with tenancy.tenant_scope(demo.tenant_id):
        order = Order.objects.filter(shopify_id=order_shopify_id).first()
        return Message.objects.filter(trigger=f"order:{order.pk}").first() if order else None


def has_messages_on_their_way(demo: DemoTenant) -> bool:
    """Is there a message that is not sent yet (it may wait for the limiter), or sent and not reported on?

    What waits for a person, or for the hours of the day, is left by somebody who tried something out.
    """
    with tenancy.tenant_scope(demo.tenant_id):
        not_sent = Q(status=Status.READY) & ~Q(pk__in=Message.objects.filter(held_up())) | Q(status=Status.LEASED)
        return Message.objects.filter(not_sent | Q(outcome=Message.Outcome.SENT)).exists()


def _order_row(order: Order) -> list[str]:
    buyer = f"{order.customer_first_name} {order.customer_last_name}".strip() or "a guest"
    facts = [order.financial_status, *(["paid"] if order.is_paid and order.financial_status != "paid" else [])]
    facts += ["cancelled"] if order.is_cancelled else []
    lines = ", ".join(f"{line.quantity} × {line.title}" for line in order.lines.order_by("position"))
    return [order.name, buyer, f"{order.currency} {order.total_amount:.2f}", ", ".join(facts), lines]


def _level_row(level: StockLevel) -> list[str]:
    variant = level.item.variants.order_by("pk").first()
    moves = ", ".join(f"{move.delta:+d} ({move.reason})" for move in level.movements.order_by("sequence"))
    return [str(variant or level.item), str(level.available), moves]


def _own_level_row(level: StockLevel) -> list[str]:
    variant = level.item.variants.order_by("pk").first()
    counts = (level.available, level.on_hand, level.movement_count)
    return [str(variant or level.item), level.location.shown_name, *map(str, counts)]


def _contact_row(contact: Contact) -> list[str]:
    sms, email = (consent_on(contact_id=contact.pk, channel=channel) for channel in ("sms", "email"))
    said = [entry.state if entry else "never asked" for entry in (sms, email)]
    return [str(contact), contact.email, contact.phone, *said]


def _message_row(message: Message) -> list[str]:
    state = f"{message.state}: {message.reason}" if message.reason else message.state
    return [str(message.contact), state, message.text]


def say_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their heads, in columns; nothing when there are none."""
    shown = [list(row) for row in rows]
    if not shown:
        return
    widths = [max(len(row[place]) for row in [list(heads), *shown]) for place in range(len(heads))]
    for row in [list(heads), *shown]:
        say(("      " + "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))).rstrip())
    say()
