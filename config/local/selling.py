"""The demo tenant that counts its own stock, as its chapters see it: its shop, its system, its twins, its goods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from config.local.deliveries import Shop
from config.local.merchant import Merchant
from config.local.processes import wait_until
from config.local.setup import Ready
from config.local.story import Narrator
from config.local.twins import EasyPostTwin, StripeTwin
from config.local.warehouse import Good, Level, Place, Warehouse

if TYPE_CHECKING:
    from config.local.tenants import DemoTenant

WORK_SECONDS = 60.0


@dataclass
class Seller:
    """Who sells, and what of; `warehouse` is there once the first chapter is told, `order` once one is placed."""

    demo: DemoTenant
    ready: Ready
    narrator: Narrator
    goods: list[Good] = field(default_factory=list)
    order_id: int = 0
    _warehouse: Warehouse | None = None

    @property
    def label(self) -> str:
        """The tenant's short name."""
        return self.demo.label

    @property
    def shop(self) -> Shop:
        """The shop, as Shopify speaks for it."""
        return self.ready.shop_of(self.demo)

    @property
    def merchant(self) -> Merchant:
        """The tenant's own system."""
        return self.ready.merchant_of(self.demo)

    @property
    def stripe(self) -> StripeTwin:
        """The account at Stripe's twin."""
        return self.ready.stripe_of(self.demo)

    @property
    def easypost(self) -> EasyPostTwin:
        """The account at EasyPost's twin."""
        return self.ready.easypost_of(self.demo)

    @property
    def warehouse(self) -> Warehouse:
        """The goods at their places."""
        assert self._warehouse is not None  # the chapter of receipts comes first
        return self._warehouse

    def open(self, warehouse: Warehouse) -> None:
        """Take over a warehouse."""
        self._warehouse, self.goods = warehouse, list(warehouse.goods)

    def say(self, text: str) -> None:
        """Print a line of this tenant's."""
        self.narrator.tell(self.label, text)

    def check(self, what: str, got: object, wanted: object) -> None:
        """Print what something is, and note it when it should be something else."""
        self.narrator.check(self.label, what, got, wanted=wanted)

    def check_level(self, good: Good, place: Place, wanted: Level) -> None:
        """Print a level, and note it when it should be another."""
        self.check(f"{good.title} in {place.name}", self.warehouse.level(good, place), wanted)

    def watch(self, read: Callable[[], str], end: str, what: str) -> None:
        """Wait until `read` says `end`, and print each word that it says on the way."""
        said: list[str] = []

        def is_over() -> bool:
            self.ready.stack.check()
            word = read()
            if word not in said:
                said.append(word)
                self.say(f"{what} is {word}")
            return word == end

        wait_until(is_over, WORK_SECONDS, f"{what} to be {end}")

    def order(self) -> Any:
        """Read the order."""
        return self.merchant.get(f"orders/{self.order_id}")
