"""The main job through real processes: a paid order becomes a message, once, whatever the provider does."""

from __future__ import annotations

import pytest

from config.infra import tenancy, work
from config.local import samples
from messaging.models import Attempt, Message
from messaging.providers.sandbox_reports import post_report
from messaging.providers.sandbox_state import Hook

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop(stack, tenant):
    """The tenant, connected to the sandbox."""
    stack.connection = stack.connect(tenant)
    return tenant


def tell_customer(stack, shop, *, has_consent):
    customer = samples.new_customer("Zoé", "Kalogera")
    assert stack.post("customers/create", samples.customer_body(customer), shop.shop_domain).status == 200
    if has_consent:
        body = samples.sms_consent_body(customer)
        assert stack.post("customers_marketing_consent/update", body, shop.shop_domain).status == 200
    stack.wait_idle()
    return customer


def pay_order(stack, shop, customer):
    item = samples.Item("Blue Mug", "MUG", "12.50")
    body = samples.order_body(samples.new_purchase("#1", customer, (item, 2)), financial_status="paid")
    assert stack.post("orders/paid", body, shop.shop_domain).status == 200


def only_message(shop):
    with tenancy.tenant_scope(shop.pk):
        return Message.objects.select_related("attempt").first()


def wait_for_state(stack, shop, state):
    def has_it():
        message = only_message(shop)
        return message is not None and message.state == state

    stack.wait_for(has_it, f"the message to be {state}")
    return only_message(shop)


def test_a_paid_order_with_consent_ends_in_a_delivered_message(stack, shop):
    customer = tell_customer(stack, shop, has_consent=True)
    pay_order(stack, shop, customer)
    message = wait_for_state(stack, shop, "delivered")
    assert (message.address, message.text) == (customer.phone, "Thank you, Zoé: #1")
    assert [sent["destination"] for sent in stack.accepted()] == [customer.phone]
    assert message.attempts == 1
    assert message.delivered_at is not None


def test_without_consent_the_message_is_skipped_and_nobody_is_called(stack, shop):
    pay_order(stack, shop, tell_customer(stack, shop, has_consent=False))
    message = wait_for_state(stack, shop, "skipped")
    assert message.reason == "no_consent"
    assert stack.accepted() == []
    with tenancy.tenant_scope(shop.pk):
        assert not Attempt.objects.exists()


def test_a_call_without_an_answer_is_unknown_not_repeated_and_settled_by_a_later_report(stack, shop):
    stack.behave(cut_after_acceptance=1, reports="none")
    pay_order(stack, shop, tell_customer(stack, shop, has_consent=True))
    message = wait_for_state(stack, shop, "unknown")
    assert message.attempt.outcome == "unknown"
    sweep_twice(stack)
    (sent,) = stack.accepted()
    assert sent["reference"] == str(message.reference)
    report(stack, sent, "Delivered")
    settled = wait_for_state(stack, shop, "delivered")
    assert settled.provider_id == sent["messageId"]
    assert len(stack.accepted()) == 1


def test_a_report_that_comes_before_our_own_commit_is_not_lost(stack, shop):
    stack.behave(reports="before", accept_delay_seconds=0.5)
    pay_order(stack, shop, tell_customer(stack, shop, has_consent=True))
    assert wait_for_state(stack, shop, "delivered").attempt.outcome == ""  # settled while the call is still open
    stack.wait_for(lambda: only_message(shop).attempt.outcome == "answered", "the answer to be stored")
    (sent,) = stack.accepted()
    message = only_message(shop)
    assert (message.state, message.provider_id) == ("delivered", sent["messageId"])


def sweep_twice(stack):
    """Let the sweep look at every queue, as beat does every few seconds."""
    for _ in range(2):
        for model in work.queues():
            work.sweep(model)
    stack.wait_idle()


def report(stack, sent, status):
    """Post a delivery report as the sandbox does."""
    url = f"{stack.base_url}/webhooks/mitto/dlr/{stack.connection.token}"
    body = {"messageId": sent["messageId"], "deliveryStatus": status, "reference": sent["reference"]}
    assert post_report(Hook("late", url, {}, frozenset()), body)
