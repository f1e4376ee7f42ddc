"""Every page of the admin opens for an owner, costs a known number of queries, and shows no secret."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config.infra import tenancy
from inventory.models import Product
from messaging.models import Message
from orders.models import Order
from shopsync.models import Membership, User, WebhookEvent
from tests.admin.pages import MODELS, change_page, change_pages, list_page
from tests.factories import deliver
from tests.world import SECRET, order_body


def _everything(client, world) -> dict[str, str]:
    """Fetch each list, each change page, and what hangs on them."""
    pages = [list_page(model) for model in MODELS] + change_pages(world)
    pages += [reverse("admin:index"), reverse("admin:shopsync_switch_tenant"), "/admin/shopsync/connection/add/"]
    member = Membership.objects.filter(tenant=world.tenant).first()
    pages += [change_page(member), change_page(member.user)]
    pages += [change_page(world.rows[model]).replace("/change/", "/history/") for model in (Order, Product)]
    with tenancy.tenant_scope(world.tenant.pk):
        pages += [change_page(row) for row in [*WebhookEvent.objects.all(), *Message.objects.all()]]
    answers = {page: client.get(page) for page in pages}
    assert {page: answer.status_code for page, answer in answers.items() if answer.status_code != 200} == {}
    return {page: answer.content.decode() for page, answer in answers.items()}


def test_each_page_opens_for_the_owner_and_shows_what_is_there(owner, world):
    pages = _everything(owner, world)
    assert world.tenant.shop_domain in pages[reverse("admin:index")]
    order = pages[change_page(world.rows[Order])]
    assert all(word in order for word in ("#1001", "Shirt 0", "129.00 USD", "1Z999"))
    payload = pages[change_page(world.rows[WebhookEvent])]
    assert "&quot;vendor&quot;: &quot;Acme&quot;" in payload


@pytest.mark.parametrize("person", ["owner", "operator", "viewer", "superuser"])
def test_no_secret_is_on_any_page(request, world, person):
    client = request.getfixturevalue(person)
    if person == "superuser":
        client.post(reverse("admin:shopsync_switch_tenant"), {"tenant": world.tenant.pk})
    pages = _everything_allowed(client, world)
    assert len(pages) > 30
    hashes = list(User.objects.values_list("password", flat=True))
    assert [page for page, text in pages.items() if SECRET in text or world.api_key in text] == []
    assert [page for page, text in pages.items() if any(value in text for value in hashes)] == []


def _everything_allowed(client, world) -> dict[str, str]:
    pages = [list_page(model) for model in MODELS] + change_pages(world)
    pages += [change_page(row) for row in Membership.objects.all()] + [change_page(row) for row in User.objects.all()]
    pages += ["/admin/", "/admin/tenant", "/admin/shopsync/connection/add/", "/admin/shopsync/apikey/make/"]
    pages += [f"{change_page(world.rows[model])}address/" for model in world.rows if model.__name__ == "Connection"]
    return {page: client.get(page).content.decode() for page in pages}


def test_no_model_is_registered_that_lets_rights_be_given_past_the_roles():
    assert Group not in MODELS


# One each: session, user, memberships, the tenant's name; then the count and the rows, and what is said in brackets.
QUERIES = {
    "audit.AuditEvent": 6, "audit.DeadLetter": 6, "audit.EventDelivery": 6, "inventory.Product": 7,
    "inventory.StockLevel": 8, "inventory.StockMovement": 7, "inventory.Reservation": 6, "inventory.HoldPush": 6,
    "inventory.StockThreshold": 6,
    "inventory.Location": 7, "messaging.Automation": 6, "messaging.Contact": 6, "messaging.Message": 6,
    "messaging.Campaign": 6, "messaging.CreditAccount": 6, "messaging.CreditPolicy": 6,
    "messaging.CreditTransaction": 7, "messaging.QuietHours": 6, "messaging.Sender": 6,
    "messaging.SendingPolicy": 6, "messaging.SendQueue": 6,
    "messaging.ConsentEntry": 6, "messaging.ContactImport": 6, "messaging.Segment": 6,
    "messaging.SegmentMember": 6, "messaging.SignupForm": 6,
    "messaging.Suppression": 6, "messaging.InboundMessage": 6,
    "messaging.Template": 6,
    "orders.Payment": 6, "orders.GatewayRefund": 6, "orders.Dispute": 7, "orders.PaymentMismatch": 6,
    "orders.Order": 8, "orders.OrderWatch": 6, "orders.Shipment": 6, "orders.ShipmentCall": 6,
    "shopsync.Alert": 6, "shopsync.ApiKey": 6, "shopsync.Connection": 6, "shopsync.Digest": 6,
    "shopsync.DigestPlan": 6, "shopsync.Membership": 6,
    "shopsync.RefusedDelivery": 7, "shopsync.Tenant": 6, "shopsync.User": 6, "shopsync.WebhookEvent": 6,
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_each_list_costs_a_known_number_of_queries(owner, world, model):
    with CaptureQueriesContext(connection) as queries:
        assert owner.get(list_page(model)).status_code == 200
    assert len(queries) == QUERIES[model._meta.label], [query["sql"][:150] for query in queries]


def test_more_rows_cost_no_more_queries(owner, world):
    from shopsync.tasks import drain_webhooks

    for number in range(20, 30):
        deliver("orders/create", order_body(number), world.tenant)
    drain_webhooks()
    for model in (Order, WebhookEvent):
        with CaptureQueriesContext(connection) as queries:
            owner.get(list_page(model))
        assert len(queries) == QUERIES[model._meta.label]


@pytest.mark.parametrize(
    ("query", "count"),
    [("status__exact=quarantined", 1), ("source=shopify", 10), ("source=mitto", 0), ("topic=orders/create", 3),
     ("age=1h", 0), ("trouble=retried", 0), ("trouble=repeated", 0), ("q=order:9007199254740994", 3)],
)  # fmt: skip
def test_the_inbox_is_filtered(owner, world, query, count):
    answer = owner.get(f"{list_page(WebhookEvent)}?{query}")
    assert answer.status_code == 200
    page = answer.content.decode()
    assert len(set(re.findall(r"/admin/shopsync/webhookevent/(\d+)/change/", page))) == count


@pytest.mark.parametrize(
    "query", ["q=%00", "q=" + "9" * 300, "status__exact=%00", "p=-1", "topic=%00", "nonsense=1", "o=99"]
)
def test_bad_input_breaks_no_list(owner, world, query):
    for model in (WebhookEvent, Order, Message):
        assert owner.get(f"{list_page(model)}?{query}").status_code in {200, 302, 400}, (model, query)
