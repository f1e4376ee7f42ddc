"""What the demo sends, and what must come of it: every delivery adds to the totals that are expected in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from config.local import samples
from config.local.deliveries import Shop, as_bytes
from config.local.samples import Customer, Item, Purchase
from config.local.session import say

Totals = Counter[tuple[str, str]]  # (demo-one, "orders") -> how many; ("", "refused: bad_signature") for everybody


class Speaker(Protocol):
    """Whose deliveries are sent."""

    @property
    def label(self) -> str:
        """The tenant's short name."""

    @property
    def shop(self) -> Shop:
        """The shop, as Shopify speaks for it."""


@dataclass
class Chapter:
    """One tenant's part: its people and things, with ids of this run."""

    label: str
    shop: Shop
    consenting: Customer
    silent: Customer
    late: Customer
    item: Item
    other_item: Item
    currency: str
    purchases: dict[str, Purchase] = field(default_factory=dict)
    first_words: bytes = b""

    @property
    def customers(self) -> list[Customer]:
        """All of them."""
        return [self.consenting, self.silent, self.late]

    def buy(self, key: str, customer: Customer | None, *lines: tuple[Item, int]) -> Purchase:
        """Place an order and remember it."""
        number = samples.new_id() % 1_000_000
        self.purchases[key] = samples.new_purchase(f"#{number}", customer, *lines, currency=self.currency)
        return self.purchases[key]


def new_chapter(label: str, shop: Shop, *, country: str, currency: str) -> Chapter:
    """Invent a tenant's people and things."""
    names = [("Ioanna", "Vathi"), ("Stavros", "Mytilinis"), ("Zoé", "Kalogera")]
    if country != "GR":
        names = [("Grace", "Harlem"), ("李", "Wei"), ("Noor", "الحسن")]
    yes, no, late = (samples.new_customer(*name, country=country) for name in names)
    mark = f"{samples.new_id() % 100_000:05d}"
    things = ("Blue Mug", "Olive Bowl") if country == "GR" else ("Desk Lamp", "Night Light")
    first, second = (
        Item(title, f"{title[:3].upper()}-{mark}", price)
        for title, price in zip(things, ("12.50", "34.00"), strict=True)
    )
    return Chapter(label, shop, yes, no, late, first, second, currency)


@dataclass
class Narrator:
    """Sends, says what it sent and what was answered, and adds up what must come of it."""

    expected: Totals = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)

    def expect(self, label: str, **nouns: int) -> None:
        """Add to what is expected; underscores in a noun stand for spaces."""
        for noun, count in nouns.items():
            self.expected[label, noun.replace("_", " ")] += count

    def tell(self, label: str, text: str) -> None:
        """Print a line of a tenant's."""
        say(f"   {label:<10}  {text}")

    def check(self, label: str, what: str, got: object, *, wanted: object) -> None:
        """Print what something is, and note it when it should be something else."""
        self.tell(label, f"{what}: {got}")
        if got != wanted:
            self.surprises.append(f"{label}: {what}: {got} instead of {wanted}")

    def send(
        self,
        chapter: Speaker,
        topic: str,
        body: Mapping[str, Any] | bytes,
        *,
        about: str,
        answer: str = "200 stored",
        shop: Shop | None = None,
        webhook_id: str | None = None,
        event_id: str | None = None,
        without: str = "",
    ) -> None:
        """Send one delivery, print it with its answer, and note an answer that is not the one it should be."""
        shop = shop or chapter.shop
        got = shop.post(topic, body, webhook_id=webhook_id, event_id=event_id, without=without)
        said = f"{got.status} {got.text}"
        self.tell(chapter.label, f"{topic:<42}{about:<44}→ {said}")
        if said != answer and str(got.status) != answer:
            self.surprises.append(f"{chapter.label} {topic} ({about}) was answered {said!r} instead of {answer!r}")
        counted = {"200 stored": "deliveries stored", "200 already stored": "duplicates counted"}
        if noun := counted.get(answer):
            self.expected[chapter.label, noun] += 1
        elif answer == "200 stored, quarantined":
            self.expected[chapter.label, "deliveries quarantined"] += 1


def tell_catalogue(narrator: Narrator, chapter: Chapter) -> None:
    """Send products, stock levels (one newer, one stale) and customers with their consents."""
    now = datetime.now(UTC)
    newer, older = (now + timedelta(seconds=5)).isoformat(), (now - timedelta(hours=1)).isoformat()
    send = narrator.send
    chapter.first_words = as_bytes(samples.product_body(chapter.item))
    send(chapter, "products/create", chapter.first_words, about=chapter.item.title)
    send(chapter, "products/create", samples.product_body(chapter.other_item), about=chapter.other_item.title)
    levels = [
        (chapter.item, 40, ""),
        (chapter.item, 37, newer),
        (chapter.item, 99, older),
        (chapter.other_item, 12, ""),
    ]
    for item, available, updated_at in levels:
        age = {newer: " (newer)", older: " (older: changes nothing)"}.get(updated_at, "")
        body = samples.level_body(item, available, updated_at=updated_at)
        send(chapter, "inventory_levels/update", body, about=f"{item.title}: {available}{age}")
    for customer in chapter.customers:
        send(chapter, "customers/create", samples.customer_body(customer), about=customer.name)
    for customer in (chapter.consenting, chapter.late):
        body = samples.sms_consent_body(customer)
        send(chapter, "customers_marketing_consent/update", body, about=f"{customer.name} agrees to SMS")
    body = samples.email_consent_body(chapter.silent)
    send(
        chapter, "customers_email_marketing_consent/update", body, about=f"{chapter.silent.name} agrees to e-mail only"
    )
    narrator.expect(chapter.label, products=2, stock_levels=2, counts_of_Shopify=3, contacts=3, consent_statements=3)


def tell_orders(narrator: Narrator, chapter: Chapter) -> None:
    """Send orders: paid with and without SMS consent, of a guest, cancelled."""
    send, body = narrator.send, samples.order_body
    yes = chapter.buy("consenting", chapter.consenting, (chapter.item, 2), (chapter.other_item, 1))
    no = chapter.buy("silent", chapter.silent, (chapter.item, 1))
    guest = chapter.buy("guest", None, (chapter.other_item, 3))
    dropped = chapter.buy("cancelled", chapter.consenting, (chapter.other_item, 1))
    for purchase in (yes, no, guest, dropped):
        who = purchase.customer.name if purchase.customer else "a guest"
        about = f"{purchase.name} of {who}, {purchase.currency} {purchase.total}"
        send(chapter, "orders/create", body(purchase), about=about)
    send(chapter, "orders/paid", body(yes, financial_status="paid"), about=f"{yes.name} is paid")
    send(chapter, "orders/paid", body(no, financial_status="paid"), about=f"{no.name} is paid")
    cancelled = body(dropped, financial_status="voided", cancelled_at=samples.now_text())
    send(chapter, "orders/cancelled", cancelled, about=f"{dropped.name} is cancelled")
    narrator.expect(chapter.label, orders=4, orders_paid=2, orders_cancelled=1, order_lines=5)
    narrator.expect(chapter.label, messages_delivered=1, messages_skipped_without_consent=1, delivery_reports=2)


def tell_trouble(narrator: Narrator, chapter: Chapter, other: Chapter) -> None:
    """Send what must be counted, refused or quarantined: none of it may change an order."""
    send, shop = narrator.send, chapter.shop
    update = samples.order_body(chapter.purchases["guest"])
    again, event_id = "200 already stored", f"event-{samples.new_id()}"
    first, second = f"demo-{samples.new_id()}", f"demo-{samples.new_id()}"
    for webhook_id, about, answer in (
        (first, "an update", "200 stored"),
        (first, "the same delivery again", again),
        (second, "the same event, another delivery", again),
    ):
        send(chapter, "orders/updated", update, about=about, answer=answer, webhook_id=webhook_id, event_id=event_id)

    forger = Shop(shop.base_url, "not-the-secret", shop.shop_domain)
    send(chapter, "orders/updated", update, about="signed with another secret", shop=forger, answer="401")
    nobody = Shop(shop.base_url, shop.secret, f"nobody-{samples.new_id()}.myshopify.com")
    send(chapter, "orders/updated", update, about="of a shop that nobody knows", shop=nobody, answer="404")
    send(chapter, "orders/updated", update, about="without its id", without="X-Shopify-Webhook-Id", answer="400")
    for reason in ("bad_signature", "unknown_shop", "missing_headers"):
        narrator.expected["", f"refused: {reason}"] += 1

    aside, broken = "200 stored, quarantined", f'{{"id": {samples.new_id()}, "name": "#1'.encode()
    send(chapter, "orders/updated", broken, about="a body that breaks off", answer=aside)
    send(chapter, "carts/create", {"id": samples.new_id()}, about="a topic that nothing takes", answer=aside)
    copied = f"{other.label}'s own words, under this name"
    send(chapter, "products/create", other.first_words, about=copied, answer=aside)


def tell_lost_answer(narrator: Narrator, chapter: Chapter) -> Purchase:
    """Send a paid order whose message the provider accepts, but cuts the connection before it says so."""
    purchase = chapter.buy("late", chapter.late, (chapter.item, 1))
    about = f"{purchase.name} of {chapter.late.name} is paid"
    narrator.send(chapter, "orders/paid", samples.order_body(purchase, financial_status="paid"), about=about)
    narrator.expect(chapter.label, orders=1, orders_paid=1, order_lines=1, messages_delivered=1, delivery_reports=2)
    narrator.expect(chapter.label, calls_without_an_answer=1)
    return purchase
