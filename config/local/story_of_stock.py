"""The demo's chapter of stock that we count: received, promised, and two hundred buyers at once for ten units."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from threading import Barrier
from typing import Any

from config.local.selling import Seller
from config.local.warehouse import PIRAEUS, PLACES, ROTTERDAM, Good, Level, open_warehouse

BUYERS, UNITS = 200, 10
_AMSTERDAM = {"country": "NL", "latitude": 52.37, "longitude": 4.9}


def tell_receipts(seller: Seller) -> None:
    """Make goods and places known, and receive units: nothing was there before."""

    def send(topic: str, body: dict[str, Any], about: str) -> None:
        seller.narrator.send(seller, topic, body, about=about)

    seller.open(open_warehouse(send, seller.merchant))
    for place in PLACES:
        seller.say(f"{place.name} lies in {place.country}, at {place.latitude}, {place.longitude}")
    oil, salt, honey = seller.goods
    for good, place, quantity in ((oil, PIRAEUS, 40), (oil, ROTTERDAM, 60), (salt, PIRAEUS, 20), (honey, PIRAEUS, 10)):
        seller.say(f"{quantity} × {good.title} arrive in {place.name}")
        seller.warehouse.receive(good, place, quantity)
        seller.check_level(good, place, Level(quantity, 0, 0, quantity))
    # What is received moves `available`, `committed` (it is known from now on: none) and `on_hand`.
    seller.narrator.expect(seller.label, products=3, stock_levels=4, movements_of_our_count=12)


def tell_promises(seller: Seller) -> None:
    """Promise units from the place that is nearest to their buyer, and give them back."""
    oil = seller.goods[0]
    wanted = {"lines": [{"variant_id": oil.variant_id, "quantity": 2}], "destination": _AMSTERDAM}
    made = seller.merchant.post("reservations", wanted)
    is_near = {line["location_id"] for line in made["lines"]} == {seller.warehouse.location_ids[ROTTERDAM.shopify_id]}
    seller.check("2 × Olive Oil are promised to Amsterdam", "from Rotterdam" if is_near else made, "from Rotterdam")
    seller.check_level(oil, ROTTERDAM, Level(60, 2, 0, 60))
    seller.merchant.send("DELETE", f"reservations/{made['id']}")
    seller.say("the buyer has second thoughts: released")
    seller.check_level(oil, ROTTERDAM, Level(60, 0, 0, 60))
    seller.narrator.expect(seller.label, movements_of_our_count=2, reservations_released=1)


def tell_rush(seller: Seller) -> None:
    """Let two hundred buyers ask at the same moment for ten units: ten get one, the others are told that none is left.

    The ten then buy what they were promised.
    """
    honey = seller.goods[2]
    gate = Barrier(BUYERS)
    with ThreadPoolExecutor(BUYERS) as pool:
        answers = list(pool.map(lambda number: _ask_for_one(seller, honey, gate, number=number), range(BUYERS)))
    came = Counter(word for word, _ in answers)
    said = ", ".join(f"{came[word]} × {word}" for word in sorted(came))
    wanted = f"{UNITS} × 201, {BUYERS - UNITS} × 409 insufficient-stock"
    seller.check(f"{BUYERS} buyers at once for {UNITS} × {honey.title}", said, wanted)
    seller.check_level(honey, PIRAEUS, Level(UNITS, UNITS, 0, UNITS))
    for reservation_id in [reservation_id for _, reservation_id in answers if reservation_id]:
        seller.merchant.post(f"reservations/{reservation_id}/commit")
    seller.say(f"the {UNITS} buy what they were promised")
    seller.check_level(honey, PIRAEUS, Level(0, 0, 0, 0))
    # Each promise moves `held`; each sale moves `held`, `available` and `on_hand`.
    seller.narrator.expect(seller.label, movements_of_our_count=4 * UNITS, reservations_committed=UNITS)


def _ask_for_one(seller: Seller, good: Good, gate: Barrier, *, number: int) -> tuple[str, int]:
    """Ask for one unit; return what was answered, and the reservation that was made (0: none)."""
    wanted = {"lines": [{"variant_id": good.variant_id, "quantity": 1}], "reference": f"buyer {number}"}
    gate.wait(timeout=30)
    try:
        answer = seller.merchant.send("POST", "reservations", wanted)
    except (OSError, HTTPException) as error:
        return f"no answer ({type(error).__name__})", 0
    document = json.loads(answer.text) if answer.text.startswith("{") else {}
    if answer.status == 201:
        return "201", int(document["id"])
    return f"{answer.status} {str(document.get('type', answer.text[:80])).rpartition('/')[2]}", 0
