"""The doors to the hand-over of the count: the command and the API, each says what it did or what is in the way."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from config.infra import tenancy, work
from shopsync.actions.tenants import create_api_key
from tests.factories import make_inbox_rows, make_tenant, stock_variant

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(db):
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        yield tenant


def test_the_command_says_what_it_did_or_why_not(shop):
    _, _ = stock_variant(5)
    said = io.StringIO()
    call_command("hand_over_stock", shop.shop_domain, "--to", "shopsync", stdout=said)
    assert "1 levels are counted by shopsync from now on" in said.getvalue()
    with pytest.raises(CommandError, match="counted by shopsync already"):
        call_command("hand_over_stock", shop.shop_domain, "--to", "shopsync")
    with pytest.raises(CommandError, match="No tenant"):
        call_command("hand_over_stock", "nobody.myshopify.com", "--to", "shopify")


def test_the_api_hands_over_once_and_names_what_is_in_the_way(shop):
    stock_variant(5)
    key = create_api_key(name="test", actor="test").secret
    waiting = make_inbox_rows(shop, "level:1:1", topic="inventory_levels/update")[0]
    client = APIClient(headers={"Authorization": f"Api-Key {key}"})

    def ask(to: str, **headers: str) -> Any:
        return client.post("/api/v1/stock/hand-over", {"to": to}, format="json", headers=headers)

    refused = ask("shopsync")
    assert refused.status_code == 409
    assert refused.json()["blockers"] == {"counts of Shopify's wait in the inbox": 1}
    type(waiting).objects.filter(pk=waiting.pk).update(status=work.Status.DONE)
    done, again = (ask("shopsync", **{"Idempotency-Key": "one"}) for _ in range(2))
    assert (done.status_code, done.json()["stock_authority"]) == (201, "shopsync")
    assert again.json() == done.json()
    assert (ask("shopsync").status_code, ask("me").status_code) == (409, 400)
    assert "to" in ask("me").json()["errors"]
