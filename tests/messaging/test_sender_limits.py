"""A sender's own limit of recipients a second holds in every call, and holds up nobody else."""

from __future__ import annotations

import time

import pytest

from messaging.actions.messages import Draft, send_single
from messaging.actions.policies import save_setting
from messaging.models import Contact, Message, Sender, SendingPolicy
from messaging.tasks import drain_messages
from tests.messaging.campaigns import add_contacts, launch, launched, make_campaign, make_ready_tenant

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant(sandbox):
    return make_ready_tenant(sandbox.base_url)


def write(sender, *, text, to=0):
    contact_id = Contact.objects.order_by("pk")[to].pk
    send_single(
        draft=Draft(contact_id=contact_id, channel="sms", text=text, sender=sender, purpose="transactional"), actor="t"
    )


def test_singles_of_a_slow_sender_hold_up_neither_singles_nor_campaigns_of_others(sandbox, tenant, in_scope):
    Sender.objects.create(channel="sms", value="Slow", recipients_per_second=1)
    fast = Sender.objects.create(channel="sms", value="Fast")
    add_contacts(tenant, 10)
    for number in range(25):
        write("Slow", text=f"slow {number}", to=number % 10)
    write("Fast", text="your code is 123")
    launch(make_campaign(tenant, sender_id=fast.pk))
    drain_messages()
    senders = [row.sender for row in sandbox.accepted()]
    print(f"{senders.count('Slow')} of the slow sender when all of the fast one were sent")
    assert Message.objects.get(text="your code is 123").outcome == "sent"
    last_fast = len(senders) - 1 - senders[::-1].index("Fast")
    assert senders.count("Fast") == 11
    assert senders[:last_fast].count("Slow") < 5


def test_a_campaign_beside_one_of_a_slow_sender_goes_as_if_alone(sandbox, tenant, in_scope):
    SendingPolicy.objects.create(batch_size=5)
    fast = Sender.objects.create(channel="sms", value="Fast")
    slow = Sender.objects.create(channel="sms", value="Slow", recipients_per_second=1)
    add_contacts(tenant, 100)
    launch(make_campaign(tenant, sender_id=slow.pk))
    launch(make_campaign(tenant, sender_id=fast.pk))
    drain_messages()
    senders = [row.sender for row in sandbox.accepted()]
    assert senders.count("Fast") == 100
    assert len(senders[: len(senders) - senders[::-1].index("Fast")]) < 110


def test_the_halves_of_a_refused_call_keep_the_limit(sandbox, tenant, in_scope):
    sandbox.behave(reports="none", refuse_calls=2)
    Sender.objects.create(channel="sms", value="Shop", recipients_per_second=8)
    launched(tenant, 24)
    deadline = time.monotonic() + 30
    while Message.objects.filter(outcome="sent").count() < 24 and time.monotonic() < deadline:
        drain_messages()
    calls = sandbox.state.calls
    most = max(sum(two["messages"] for two in calls if one["at"] <= two["at"] < one["at"] + 0.9) for one in calls)
    print(f"at most {most} recipients in 0.9 s of {[call['messages'] for call in calls]}")
    assert sum(call["messages"] for call in calls if call["outcome"] == "accepted") == 24
    assert most <= 8


def test_a_single_whose_sender_was_put_away_is_skipped_and_costs_nothing(sandbox, tenant, in_scope):
    sender = Sender.objects.create(channel="sms", value="Gone")
    add_contacts(tenant, 1)
    write("Gone", text="x")
    save_setting(sender, {"is_active": False}, actor="t")
    drain_messages()
    message = Message.objects.get()
    assert (message.outcome, message.reason) == ("skipped", "sender_inactive")
    assert message.credit in {"", "released"}
    assert not sandbox.accepted()
