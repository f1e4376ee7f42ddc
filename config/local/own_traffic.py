"""The daily life of the tenant that counts its own stock, a step at a time: orders, payments, parcels, by the API."""

# ruff: noqa: S311  chance decides what is bought; nothing here is a secret

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from config.local import samples
from config.local.merchant import Merchant
from config.local.samples import Body
from config.local.traffic import NAMES
from config.local.twins import EasyPostTwin, StripeTwin
from config.local.warehouse import PIRAEUS, SHELF, WARES, Warehouse, open_warehouse

TOWNS = (("Athens", "GR", "10563"), ("Patras", "GR", "26221"), ("Utrecht", "NL", "3511"))
DELIVERY = 50  # units that arrive when a ware has run out
MOST_OPEN = 5
PATIENCE_SECONDS = 5.0  # meanwhile nobody looks after what died


@dataclass
class Errand:
    """An order on its way; `next` is what is done for it next, and returns what it did."""

    order_id: int
    next: Callable[[Errand], str]
    shipment: Any = None


@dataclass
class OwnTraffic:
    """One tenant's orders, each placed, paid, packed, labelled and carried to its buyer; some are never paid."""

    send: Callable[[str, Body], object]
    merchant: Merchant
    stripe: StripeTwin
    easypost: EasyPostTwin
    errands: list[Errand] = field(default_factory=list)
    _warehouse: Warehouse | None = None

    def send_one(self) -> str:
        """Take one step, and return what it was, or why it was none."""
        errand: Errand | None = None
        try:
            if self._warehouse is None:
                return self._open_warehouse()
            if len(self.errands) < MOST_OPEN and random.random() < 0.4:
                return self._place(self._warehouse)
            errand = random.choice(self.errands) if self.errands else None
            return errand.next(errand) if errand else self._place(self._warehouse)
        except (OSError, HTTPException) as error:
            return f"no answer ({type(error).__name__})"
        except (RuntimeError, TimeoutError) as error:  # a twin that was started again knows of nothing
            self.errands = [other for other in self.errands if other is not errand]
            return str(error).partition("{")[0].strip()[:100]

    def _open_warehouse(self) -> str:
        self._warehouse = open_warehouse(
            lambda topic, body, _: self.send(topic, body), self.merchant, patience_seconds=PATIENCE_SECONDS
        )
        for good, ware in zip(self._warehouse.goods, WARES, strict=True):
            for place in ware.places:
                self._warehouse.receive(good, place, DELIVERY)
        return "wares arrived"

    def _place(self, warehouse: Warehouse) -> str:
        goods = random.sample(list(warehouse.goods), random.randint(1, 2))
        town, country, code = random.choice(TOWNS)
        first_name, _, last_name = random.choice(NAMES).partition(" ")
        address = {"name": f"{first_name} {last_name}", "address1": "Market 1", "city": town}
        body = {
            "lines": [{"variant_id": good.variant_id, "quantity": random.randint(1, 3)} for good in goods],
            "email": f"customer.{samples.new_id()}@example.com",
            "customer_first_name": first_name,
            "customer_last_name": last_name,
            "shipping_address": {**address, "zip": code, "country_code": country},
        }
        answer = self.merchant.send("POST", "orders", body)
        if answer.status == 409:
            for good in goods:
                warehouse.receive(good, PIRAEUS, DELIVERY)
            return "wares arrived"
        if answer.status != 201:
            raise RuntimeError(f"POST /api/v1/orders was answered {answer.status}")
        self.errands.append(Errand(json.loads(answer.text)["id"], self._pay))
        return "order placed"

    def _pay(self, errand: Errand) -> str:
        if random.random() < 0.1:
            self.errands.remove(errand)
            return "order left unpaid"
        order = self.merchant.get(f"orders/{errand.order_id}")
        self.stripe.pay(order_id=errand.order_id, amount=order["total_amount"], currency=order["currency"])
        errand.next = self._pack
        return "order paid"

    def _pack(self, errand: Errand) -> str:
        if self.merchant.get(f"orders/{errand.order_id}")["financial_status"] != "paid":
            return "order waits for its payment"
        errand.shipment = self.merchant.post("shipments", {"order_id": errand.order_id})
        weight = {"weight_grams": random.randint(200, 5000)}
        self.merchant.post(f"shipments/{errand.shipment['id']}/rates", {"from_address": SHELF, "parcel": weight})
        errand.next = self._buy
        return "parcel packed"

    def _buy(self, errand: Errand) -> str:
        path = f"shipments/{errand.shipment['id']}"
        rates = self.merchant.get(path)["rates"]
        if not rates:
            return "parcel waits for its rates"
        self.merchant.post(f"{path}/buy", {"rate_id": random.choice(rates)["id"]})
        errand.next = self._travel
        return "label asked for"

    def _travel(self, errand: Errand) -> str:
        if self.merchant.get(f"shipments/{errand.shipment['id']}")["status"] != "labelled":
            return "parcel waits for its label"
        self.easypost.travel(errand.shipment["reference"])
        self.errands.remove(errand)
        return "parcel carried to its door"
