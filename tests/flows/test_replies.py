"""Replies through real processes: STOP posted by the twin is confirmed once, and START ends it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from config.infra import tenancy
from config.local import deliveries
from messaging.models import InboundMessage, Message
from tests.flows.test_main_job import pay_order, tell_customer
from tests.messaging.replying import state_of
from tests.messaging.twins import Client

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop(stack, tenant):
    """The tenant, connected to the sandbox, replies included."""
    connection = stack.connect(tenant)
    url = f"{stack.base_url}/webhooks/mitto/inbound/{connection.token}"
    deliveries.register_reports(stack.sandbox_url, account_id=connection.account_id, url=url, trigger="Inbound")
    stack.account_id = connection.account_id
    return tenant


def answer(stack, phone, text):
    """Reply through the twin, and wait until it is worked on."""
    twin = Client(urlsplit(stack.sandbox_url).port)
    given = {"account": stack.account_id, "from": phone, "to": "Shopsync", "text": text}
    status, posted = twin("POST", "/sandbox/reply", given)
    assert (status, posted["taken"]) == (200, 1)
    stack.wait_idle()


def test_a_reply_is_acted_upon_through_the_twin_and_real_processes(stack, shop):
    customer = tell_customer(stack, shop, has_consent=True)
    pay_order(stack, shop, customer)
    stack.wait_idle()
    (thanks,) = stack.accepted()
    phone = thanks["destination"]
    for _ in range(2):
        answer(stack, phone, "Stop")
    assert state_of(shop, phone) == ("stop", "unsubscribed")
    assert [sent["destination"] for sent in stack.accepted()] == [phone, phone]
    assert "unsubscribed" in stack.accepted()[1]["text"]
    answer(stack, phone, "START")
    assert state_of(shop, phone) == ("", "subscribed")
    with tenancy.tenant_scope(shop.pk):
        assert sorted(InboundMessage.objects.values_list("kind", "routed_by")) == [
            ("optin", "conversation"), ("optout", "conversation"), ("optout", "conversation"),
        ]  # fmt: skip
        assert Message.objects.filter(purpose="confirmation").count() == 1
