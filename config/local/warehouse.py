"""The goods of the demo tenant that counts its own stock: made known by webhook, located and received by the API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from config.local import samples
from config.local.merchant import Merchant
from config.local.processes import wait_until
from config.local.samples import Body, Item

Send = Callable[[str, Body, str], object]  # topic, body, what it is about


@dataclass(frozen=True)
class Place:
    """A location, the same in every run."""

    name: str
    shopify_id: int
    country: str
    latitude: float
    longitude: float


PIRAEUS = Place("Piraeus", 71_001, "GR", 37.94, 23.65)
ROTTERDAM = Place("Rotterdam", 71_002, "NL", 51.92, 4.48)
PLACES = (PIRAEUS, ROTTERDAM)


@dataclass(frozen=True)
class Ware:
    """What is to be sold: its price, and where it is kept."""

    title: str
    price: str
    places: Sequence[Place]


WARES = (  # where nothing is counted there is no end of it: what may run out is kept only where it is counted
    Ware("Olive Oil", "12.50", PLACES),
    Ware("Sea Salt", "4.00", (PIRAEUS,)),
    Ware("Thyme Honey", "9.80", (PIRAEUS,)),
)
SHELF = {"name": "Aegean Pantry", "address1": "Akti Miaouli 1", "city": "Piraeus", "zip": "18535", "country_code": "GR"}


@dataclass(frozen=True)
class Good:
    """A good of this run, and the variant that it became."""

    item: Item
    variant_id: int

    @property
    def title(self) -> str:
        """What it is called."""
        return self.item.title


@dataclass(frozen=True)
class Level:
    """What a level shows; compared with what it should."""

    available: int | None
    held: int
    committed: int | None
    on_hand: int | None

    def __str__(self) -> str:
        return f"{self.available} available, {self.held} held, {self.committed} committed, {self.on_hand} on hand"


@dataclass(frozen=True)
class Warehouse:
    """Goods at places, as the merchant's system sees them."""

    merchant: Merchant
    goods: Sequence[Good]
    location_ids: dict[int, int]  # by Shopify's

    def receive(self, good: Good, place: Place, quantity: int) -> None:
        """Add units that arrived."""
        spot = {"variant_id": good.variant_id, "location_id": self.location_ids[place.shopify_id]}
        self.merchant.post("stock/receive", {**spot, "quantity": quantity, "reference": "local"})

    def level(self, good: Good, place: Place) -> Level:
        """Read a level."""
        where = f"variant_id={good.variant_id}&location_id={self.location_ids[place.shopify_id]}"
        (row,) = self.merchant.rows(f"stock?{where}")
        return Level(row["available"], row["held"], row["committed"], row["on_hand"])


def open_warehouse(send: Send, merchant: Merchant, *, patience_seconds: float = 30.0) -> Warehouse:
    """Make WARES known where they are kept, say where those places are, and return once all is known.

    Nothing is there yet: their levels are untracked until some is received.
    """
    mark = f"{samples.new_id() % 100_000:05d}"
    items = [Item(ware.title, f"{ware.title[:3].upper()}-{mark}", ware.price) for ware in WARES]
    for item, ware in zip(items, WARES, strict=True):
        send("products/create", samples.product_body(item), item.title)
        for place in ware.places:
            body = samples.level_body(replace(item, location_id=place.shopify_id), None)
            send("inventory_levels/update", body, f"{item.title} is kept in {place.name}")
    is_known = lambda: all(_is_known(merchant, item, ware) for item, ware in zip(items, WARES, strict=True))  # noqa: E731
    wait_until(is_known, patience_seconds, "the wares to be known")
    goods = [Good(item, merchant.rows(f"variants?sku={item.sku}")[0]["id"]) for item in items]
    return Warehouse(merchant, goods, _locate(merchant))


def _is_known(merchant: Merchant, item: Item, ware: Ware) -> bool:
    """Is a ware known as a variant, with a level at each of its places?"""
    return len(merchant.rows(f"stock?sku={item.sku}")) == len(ware.places)


def _locate(merchant: Merchant) -> dict[int, int]:
    """Say where the places are; return their ids here by Shopify's."""
    rows: dict[str, Any] = {row["shopify_id"]: row for row in merchant.rows("locations?page_size=200")}
    ids = {}
    for place in PLACES:
        row = rows[str(place.shopify_id)]
        facts = {"own_name": place.name, "country": place.country}
        merchant.patch(f"locations/{row['id']}", {**facts, "latitude": place.latitude, "longitude": place.longitude})
        ids[place.shopify_id] = int(row["id"])
    return ids
