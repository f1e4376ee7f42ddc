"""People in the admin: an owner, an operator, a viewer, a stranger of another tenant, and a superuser."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from inventory.models import Location, StockLevel
from orders.actions.placing import NewLine, NewOrder, place_order
from orders.models import Order
from shopsync.models import User
from tests.admin.pages import change_page
from tests.factories import make_tenant, stock_variant
from tests.world import World, make_person
from tests.worlds import other_world, shared_other_world, shared_world, world

__all__ = ["other_world", "shared_other_world", "shared_world", "world"]


@pytest.fixture(autouse=True)
def _sign_in_is_fast(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def owner(world: World) -> Client:
    return signed_in(make_person("owner", tenant=world.tenant))


@pytest.fixture
def operator(world: World) -> Client:
    return signed_in(make_person("operator", tenant=world.tenant, role="operator"))


@pytest.fixture
def viewer(world: World) -> Client:
    return signed_in(make_person("viewer", tenant=world.tenant, role="viewer"))


@pytest.fixture
def stranger(other_world: World) -> Client:
    return signed_in(make_person("stranger", tenant=other_world.tenant))


@pytest.fixture
def superuser(db: None) -> Client:
    return signed_in(make_person("root", is_superuser=True))


class Shop:
    """A tenant that counts its own stock: five of one variant at each of two places, and a third place."""

    def __init__(self, authority: str = "shopsync") -> None:
        self.tenant = make_tenant(stock_authority=authority)
        with self.open():
            self.variant, self.levels = stock_variant(5, locations=2)
            self.third = Location.objects.create(shopify_id=3, name="Place 3")

    def open(self) -> Any:
        """Open the tenant's scope."""
        return tenancy.tenant_scope(self.tenant.pk)

    def person(self, role: str) -> Client:
        """Sign somebody of the tenant in."""
        return signed_in(make_person(f"{role}-of-{self.tenant.pk}", tenant=self.tenant, role=role))

    def place(self, *quantities: int, now: datetime | None = None, **fields: Any) -> Order:
        """Place an order of ours of so many units a line, for 10 each."""
        lines = tuple(NewLine(variant_id=self.variant.pk, quantity=n, price_amount=Decimal(10)) for n in quantities)
        with self.open():
            return place_order(new=NewOrder(lines=lines, **fields), actor="test", now=now or timezone.now())

    def numbers(self) -> list[tuple[int | None, int]]:
        """Read (available, held) of each level."""
        with self.open():
            return list(StockLevel.objects.order_by("pk").values_list("available", "held"))

    def events(self, name: str) -> list[AuditEvent]:
        """Read the trail."""
        with self.open():
            return list(AuditEvent.objects.filter(name=name).order_by("pk"))


@pytest.fixture
def shop(db: None) -> Shop:
    return Shop()


def act_page(row: Any, verb: str) -> str:
    """Return the address of the page that asks."""
    return change_page(row).replace("/change/", f"/{verb}/")


def send(client: Client, url: str, **fields: Any) -> Any:
    """Open the page, fill in what is given, send it with the key that was made with it, and follow."""
    page = client.get(url)
    assert page.status_code == 200, page
    (key,) = re.findall(r'name="key" value="(admin-[^"]+)"', page.content.decode())
    return client.post(url, {"key": key, **fields}, follow=True)


def errors_of(answer: Any) -> list[str]:
    """List what a page says is wrong, field by field and as a whole."""
    form = answer.context.get("form") if answer.context else None
    return [str(text) for texts in form.errors.values() for text in texts] if form is not None else []
