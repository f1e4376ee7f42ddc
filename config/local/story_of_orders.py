"""The demo's chapters of an order of our own: paid, refunded and sent through the twins, who lose two answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from config.local import calls, samples
from config.local.deliveries import behave
from config.local.selling import Seller
from config.local.warehouse import PIRAEUS, SHELF, Level

HOME = {"name": "Maria Delos", "address1": "Ermou 5", "city": "Athens", "zip": "10563", "country_code": "GR"}
MEASURES = {"weight_grams": 2400, "length_mm": 300, "width_mm": 200, "height_mm": 150}
GESTURE, TOTAL = "5.00", "45.50"  # 3 × 12.50 and 2 × 4.00


def tell_order(seller: Seller) -> None:
    """Place an order, twice under one key, and let its buyer pay: Stripe's signed events make it paid."""
    oil, salt, _ = seller.goods
    lines = [{"variant_id": oil.variant_id, "quantity": 3}, {"variant_id": salt.variant_id, "quantity": 2}]
    buyer = samples.new_customer("Maria", "Delos")
    wanted = {
        "lines": lines,
        "email": buyer.email,
        "phone": buyer.phone,
        "customer_first_name": buyer.first_name,
        "customer_last_name": buyer.last_name,
        "shipping_address": HOME,
    }
    key = f"cart-{oil.item.sku}"
    placed, again = (seller.merchant.post("orders", wanted, key=key) for _ in range(2))
    seller.order_id = placed["id"]
    seller.say(f"{placed['name']} is placed, and placed again under the same Idempotency-Key")
    seller.check("that is one order", again["id"] == placed["id"], True)
    seller.check("its total", f"{placed['currency']} {placed['total_amount']}", f"EUR {TOTAL}")
    seller.check_level(oil, PIRAEUS, Level(40, 3, 0, 40))
    paid = seller.stripe.pay(order_id=seller.order_id, amount=placed["total_amount"], currency=placed["currency"])
    seller.say(f"the buyer pays at Stripe's twin: {paid}")
    seller.watch(lambda: str(seller.order()["financial_status"]), "paid", placed["name"])
    seller.check_level(oil, PIRAEUS, Level(37, 0, 3, 40))
    # Two levels: each promise moves `held`; each sale moves `held`, `available` and `committed`.
    expect = seller.narrator.expect
    expect(
        seller.label, orders=1, orders_paid=1, order_lines=2, payments_captured=1, contacts=1, movements_of_our_count=8
    )
    expect(seller.label, messages_skipped_without_consent=1, reservations_committed=1)


def tell_lost_refund(seller: Seller) -> None:
    """Give money back, and lose the answer: nobody asks for it again, Stripe is asked what became of it."""
    (payment,) = seller.merchant.rows(f"payments?order_id={seller.order_id}")
    behave(seller.stripe.url, cut_after_effect=1, events="none")
    wanted = {"amount": GESTURE, "currency": payment["currency"]}
    refund = seller.merchant.post(f"payments/{payment['id']}/refunds", wanted)
    seller.say(f"{payment['currency']} {GESTURE} are to go back; the twin does it, and cuts the connection")
    seller.watch(lambda: calls.refund_call_status(seller.demo, refund["id"]), "unknown", "the call")
    behave(seller.stripe.url)
    seller.check("refunds at the twin", len(seller.stripe.refunds(payment["provider_id"])), 1)
    seller.say("half a minute early, the twin is asked what became of it")
    calls.ask_early(seller.demo)
    seller.watch(lambda: _refund_status(seller, payment["id"], refund["id"]), "succeeded", "the refund")
    back = seller.merchant.get(f"payments/{payment['id']}")["amount_refunded"]
    seller.check("given back of the payment", back, GESTURE)
    seller.check("refunds at the twin", len(seller.stripe.refunds(payment["provider_id"])), 1)
    seller.narrator.expect(seller.label, refunds_succeeded=1)


def _refund_status(seller: Seller, payment_id: int, refund_id: int) -> str:
    refunds = seller.merchant.get(f"payments/{payment_id}")["refunds"]
    return next(str(row["status"]) for row in refunds if row["id"] == refund_id)


@dataclass(frozen=True)
class Parcel:
    """The order's parcel, as the merchant's system sees it."""

    seller: Seller
    shipment_id: int
    reference: str

    @property
    def path(self) -> str:
        """Where the API has it."""
        return f"shipments/{self.shipment_id}"

    def read(self) -> Any:
        """Read it anew."""
        return self.seller.merchant.get(self.path)

    def watch(self, end: str) -> None:
        """Wait until it is so."""
        self.seller.watch(lambda: str(self.read()["status"]), end, "the parcel")

    def purchase(self) -> str:
        """Say where the purchase of its label stands."""
        return next(str(call["status"]) for call in self.read()["calls"] if call["kind"] == "buy")


def tell_label(seller: Seller) -> Parcel:
    """Pack the order, buy its label and lose the answer: it is bought once."""
    made = seller.merchant.post("shipments", {"order_id": seller.order_id})
    parcel = Parcel(seller, made["id"], made["reference"])
    seller.merchant.post(f"{parcel.path}/rates", {"from_address": SHELF, "parcel": MEASURES})
    seller.watch(lambda: f"offered {len(parcel.read()['rates'])} rates", "offered 2 rates", "the parcel")
    rate = min(parcel.read()["rates"], key=lambda offer: float(offer["amount"]))
    behave(seller.easypost.url, cut_after=1, events="out_of_order")
    seller.merchant.post(f"{parcel.path}/buy", {"rate_id": rate["id"]})
    price = f"{rate['currency']} {rate['amount']}"
    seller.say(f"{rate['company']} {rate['service']}, {price}: the twin sells the label, and cuts the connection")
    seller.watch(parcel.purchase, "unknown", "the purchase")
    calls.ask_early(seller.demo)
    parcel.watch("labelled")
    seller.watch(lambda: "here" if parcel.read()["has_label"] else "still there", "here", "the label's file")
    seller.check("labels that the twin took money for", seller.easypost.purchases(parcel.reference), 1)
    seller.check("the label begins with", seller.merchant.send("GET", f"{parcel.path}/label").text[:5], "%PDF-")
    seller.narrator.expect(seller.label, labels_bought=1)
    return parcel


def tell_journey(seller: Seller, parcel: Parcel) -> None:
    """Let the carrier's signed news come in the wrong order: the parcel is delivered, and the order fulfilled."""
    seller.check("events of its journey, the last one first", seller.easypost.travel(parcel.reference), 4)
    parcel.watch("delivered")
    behave(seller.easypost.url)
    seller.check("the order", seller.order()["fulfillment_status"], "fulfilled")
    seller.check_level(seller.goods[0], PIRAEUS, Level(37, 0, 0, 37))
    # Two levels: what is sent leaves `committed` and `on_hand`.
    seller.narrator.expect(seller.label, parcels_delivered=1, movements_of_our_count=4)


def tell_return(seller: Seller) -> None:
    """Take one unit back: its money goes back through Stripe, the unit onto the shelf."""
    oil, salt, _ = seller.goods
    line = next(line for line in seller.order()["lines"] if line["variant_id"] == oil.variant_id)
    back = {"line_id": line["id"], "quantity": 1, "restock_type": "return"}
    seller.merchant.post(f"orders/{seller.order_id}/refunds", {"lines": [back]})
    seller.say(f"1 × {oil.title} comes back, and is put on the shelf")
    (payment,) = seller.merchant.rows(f"payments?order_id={seller.order_id}")
    path = f"payments/{payment['id']}"
    seller.watch(
        lambda: str(seller.merchant.get(path)["amount_refunded"]), "17.50", "given back of the payment, in EUR,"
    )
    seller.check("the order", seller.order()["financial_status"], "partially_refunded")
    seller.check("refunds at the twin", len(seller.stripe.refunds(payment["provider_id"])), 2)
    seller.check_level(oil, PIRAEUS, Level(38, 0, 0, 38))
    seller.check_level(salt, PIRAEUS, Level(18, 0, 0, 18))
    seller.narrator.expect(seller.label, refunds_succeeded=1, movements_of_our_count=2)
