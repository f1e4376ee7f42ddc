"""An automation writes once about what happened, whatever was published, or found out, since."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from audit.models import EventDelivery
from messaging.actions.automations import publish_automation
from messaging.actions.profiles import create_contact
from messaging.models import Automation, Message
from tests.factories import deliver, drain_all
from tests.messaging.automations import give_thanks_automation
from tests.messaging.campaigns import make_sender_tenant
from tests.messaging.test_contacts import customer, order, sms_consent

pytestmark = pytest.mark.django_db(transaction=True)
PERSON = {"id": 1, "email": "zoe@example.com", "first_name": "Zoe"}


@pytest.fixture
def tenant(sandbox):
    return make_sender_tenant(sandbox.base_url)


def pay(tenant, number):
    deliver("customers/create", customer(), tenant)
    deliver("customers_marketing_consent/update", sms_consent(), tenant)
    deliver("orders/paid", order(number, customer=PERSON, financial_status="paid"), tenant)
    drain_all()


def handle_again():
    """Let the subscribers hear of everything once more."""
    EventDelivery.objects.update(status="ready", due_at="2000-01-01T00:00:00Z", lease_until=None, finished_at=None)
    drain_all()


def publish(template, name="thanks"):
    return publish_automation(name=name, trigger_event="order.paid", channel="sms", template=template, actor="test")


def test_an_event_that_is_handled_again_after_a_new_version_makes_no_second_message(tenant, in_scope):
    give_thanks_automation(tenant)
    pay(tenant, 7)
    publish("Thanks again, {{ contact.first_name }}")
    handle_again()
    assert [row.automation_version.number for row in Message.objects.all()] == [1]
    pay(tenant, 8)
    assert sorted(row.automation_version.number for row in Message.objects.all()) == [1, 2]


def test_each_automation_on_an_event_writes_once(tenant, in_scope):
    publish("Thanks")
    publish("And a question", name="survey")
    pay(tenant, 7)
    handle_again()
    assert sorted(Message.objects.values_list("automation_version__automation__name", flat=True)) == [
        "survey",
        "thanks",
    ]


def test_the_database_refuses_a_second_message_about_one_event(tenant, in_scope):
    version, other = publish("One"), publish("Two")
    people = [create_contact(values={"phone": f"+30690000000{n}"}, actor="t", now=version.created_at) for n in (1, 2)]
    about = {"automation": Automation.objects.get(), "trigger": "order:1", "channel": "sms"}
    Message.objects.create(contact=people[0], automation_version=version, **about)
    with pytest.raises(IntegrityError, match="message_is_sent_once_per_automation_and_trigger"), transaction.atomic():
        Message.objects.create(contact=people[1], automation_version=other, **about)
    with pytest.raises(IntegrityError, match="message_names_its_automation"), transaction.atomic():
        Message.objects.create(contact=people[1], automation_version=other, trigger="order:1", channel="sms")
