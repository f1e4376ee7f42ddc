"""The demo's chapters of the count handed over, to us and back, while an order waits; and the last proof."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from config.infra import tenancy
from config.local import database, samples
from config.local.processes import wait_until
from config.local.selling import WORK_SECONDS
from config.local.setup import Ready
from config.local.story import Chapter, Narrator
from config.local.tenants import DemoTenant
from config.local.warehouse import Level
from inventory.models import StockLevel
from orders.actions.verification import verify_stock

LEVEL_SECONDS = 20.0


@dataclass
class Clockmaker:
    """The tenant whose count goes from one to the other, with a good of this chapter."""

    ready: Ready
    narrator: Narrator
    demo: DemoTenant
    chapter: Chapter
    item: samples.Item

    def send(self, topic: str, body: samples.Body, about: str) -> None:
        """Send a delivery of Shopify's, and wait until nothing is left to do."""
        self.narrator.send(self.chapter, topic, body, about=about)
        database.wait_until_idle(WORK_SECONDS)

    def hand_over(self, to: str) -> None:
        """Let us, or Shopify, count from now on."""
        done = self.ready.merchant_of(self.demo).send("POST", "stock/hand-over", {"to": to})
        answer = "201" if done.status == 201 else f"{done.status} {done.text}"
        self.narrator.check(self.demo.label, f"the count is handed to {to}", answer, wanted="201")

    def check(self, wanted: Level) -> None:
        """Wait until the level is as it should be, print it, and note it when it stays another."""
        with suppress(TimeoutError):  # noted below
            wait_until(lambda: self.level() == wanted, LEVEL_SECONDS, "the level")
        self.narrator.check(self.demo.label, self.item.title, self.level(), wanted=wanted)

    def level(self) -> Level:
        """Read the level of the chapter's good."""
        with tenancy.tenant_scope(self.demo.tenant_id):
            row = StockLevel.objects.get(item__shopify_id=self.item.inventory_item_id)
        return Level(row.available, row.held, row.committed, row.on_hand)


def tell_hand_over(ready: Ready, narrator: Narrator, *, demo: DemoTenant, chapter: Chapter) -> None:
    """Hand the count to us while an order waits, sell and send here, and hand it back: no unit is counted twice."""
    item = samples.Item("Wall Clock", f"WAL-{samples.new_id() % 100_000:05d}", "80.00")
    maker = Clockmaker(ready, narrator, demo, chapter, item)
    waiting = samples.new_purchase(f"#{samples.new_id() % 1_000_000}", None, (item, 3), currency=demo.currency)
    maker.send("products/create", samples.product_body(item), item.title)
    maker.send("inventory_levels/update", samples.level_body(item, 20), f"{item.title}: 20")
    maker.send("orders/create", samples.order_body(waiting), f"{waiting.name} takes 3, and waits to be sent")
    maker.send("inventory_levels/update", samples.level_body(item, 17), f"{item.title}: 17, the 3 are off")
    maker.check(Level(17, 0, None, None))
    maker.hand_over("shopsync")
    maker.check(Level(17, 0, 3, 20))  # the order that waits has its three, and they are not taken a second time
    later = samples.new_purchase(f"#{samples.new_id() % 1_000_000}", None, (item, 2), currency=demo.currency)
    maker.send("orders/create", samples.order_body(later), f"{later.name} takes 2: of our count")
    maker.check(Level(15, 0, 5, 20))
    maker.send("orders/fulfilled", samples.fulfilled_body(waiting), f"{waiting.name} is sent")
    maker.check(Level(15, 0, 2, 17))
    maker.send("inventory_levels/update", samples.level_body(item, 15), f"{item.title}: 15, as Shopify has it")
    prove_stock(narrator, [demo])
    maker.hand_over("shopify")
    maker.check(Level(15, 0, None, None))
    narrator.expect(demo.label, products=1, stock_levels=1, orders=2, order_lines=2, counts_of_Shopify=2)


def ensure_shopify_counts(ready: Ready, demo: DemoTenant) -> None:
    """Hand the count back to Shopify, where a demo that was interrupted left it with us."""
    answer = ready.merchant_of(demo).send("POST", "stock/hand-over", {"to": "shopify"})
    if answer.status != 201 and "already-counting" not in answer.text:
        raise RuntimeError(f"the count of {demo.label} can't be handed back: {answer.text}")


def prove_stock(narrator: Narrator, tenants: Sequence[DemoTenant]) -> None:
    """Prove of every level that it is what its ledger, its reservations and its orders say."""
    for demo in tenants:
        with tenancy.tenant_scope(demo.tenant_id):
            found, levels = verify_stock(actor="demo"), StockLevel.objects.count()
        problems = "; ".join(drift.problem for drift in found) or "none"
        narrator.check(demo.label, f"differences that verify_stock finds in {levels} levels", problems, wanted="none")
