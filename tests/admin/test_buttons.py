"""Buttons follow the state of the row; what they led to stays refused where it makes no sense."""

from __future__ import annotations

import pytest
from django.utils import timezone

from config.infra import tenancy
from messaging.actions.segments import change_members, save_segment
from messaging.models import Campaign, ContactImport, InboundMessage, Message, Segment
from tests.admin.conftest import act_page, send
from tests.admin.pages import change_page
from tests.factories import reload


def buttons(client, row):
    """List the actions that a row's page offers, by the last part of their addresses."""
    page = client.get(change_page(row))
    assert page.status_code == 200
    return [one["path"].rstrip("/").rpartition("/")[2] for one in page.context["actions_detail"]]


@pytest.mark.parametrize(
    ("status", "offered"),
    [
        ("draft", ["report", "test", "launch"]),
        ("scheduled", ["pause", "cancel"]),
        ("sending", ["pause", "cancel"]),
        ("paused", ["resume", "cancel"]),
        ("done", []),
        ("cancelled", []),
    ],
)
def test_a_campaign_offers_what_its_state_allows(operator, viewer, world, status, offered):
    now = timezone.now()
    with tenancy.tenant_scope(world.tenant.pk):
        campaign = Campaign.objects.get(name="Greetings")
        ended = now if status in {"done", "cancelled"} else None
        Campaign.objects.filter(pk=campaign.pk).update(
            status=status, scheduled_at=now, frozen_at=now, finished_at=ended
        )
    assert buttons(operator, campaign) == offered
    assert buttons(viewer, campaign) == []


def test_what_is_not_offered_of_a_campaign_is_refused_all_the_same(operator, world):
    now = timezone.now()
    with tenancy.tenant_scope(world.tenant.pk):
        campaign = Campaign.objects.get(name="Greetings")
        Campaign.objects.filter(pk=campaign.pk).update(status="done", frozen_at=now, finished_at=now)
    answer = send(operator, act_page(campaign, "cancel"))
    assert "The campaign is done already." in answer.content.decode()
    assert reload(campaign).status == "done"


def test_only_unknown_messages_are_decided_on(operator, world):
    with tenancy.tenant_scope(world.tenant.pk):
        found = {message.status: message for message in Message.objects.order_by("-pk")}
    assert buttons(operator, found["unknown"]) == ["resend", "was-sent", "was-not-sent"]
    assert [buttons(operator, message) for status, message in found.items() if status != "unknown"] == [[], []]
    answer = send(operator, act_page(found["done"], "resend"))
    assert "only an unknown one is decided on" in answer.content.decode()


def test_only_lists_have_members_to_put_on_and_take_off(operator, viewer, world):
    with tenancy.tenant_scope(world.tenant.pk):
        described = Segment.objects.get(name="everybody")
        listed = save_segment(segment_id=None, name="a list", definition=None, actor="test")
    assert buttons(operator, described) == ["look"]
    assert buttons(operator, listed) == ["look", "members", "fill", "empty"]
    assert buttons(viewer, listed) == ["look", "members"]


@pytest.mark.parametrize(
    ("review", "routed_by", "offered"),
    [
        ("open", "sender", ["decide"]),
        ("open", "", ["decide", "assign"]),
        ("", "", ["assign"]),
        ("done", "sender", []),
        ("", "sender", []),
    ],
)
def test_replies_are_decided_and_assigned_where_they_wait(operator, world, review, routed_by, offered):
    with tenancy.tenant_scope(world.tenant.pk):
        reply = InboundMessage.objects.order_by("pk").first()
        InboundMessage.objects.filter(pk=reply.pk).update(review=review, routed_by=routed_by)
    assert buttons(operator, reply) == offered


def test_whoever_takes_a_used_segment_away_is_told_what_uses_it(operator, world):
    with tenancy.tenant_scope(world.tenant.pk):
        segment, first = Segment.objects.get(name="everybody"), Campaign.objects.get(name="Greetings")
        for number in range(4):
            first.pk, first.name, first._state.adding = None, f"Copy {number}", True
            first.save()
    page = act_page(segment, "delete")
    told = "everybody is used by campaigns: &#x27;Copy 3&#x27;, &#x27;Copy 2&#x27;, &#x27;Copy 1&#x27; and 2 more"
    for answer in (operator.get(page), operator.post(page, {"post": "yes"})):
        assert told in answer.content.decode()
    assert reload(segment).pk == segment.pk


@pytest.mark.parametrize("status", ["ready", "done"])
def test_a_list_stays_while_an_import_fills_it(operator, world, status):
    with tenancy.tenant_scope(world.tenant.pk):
        listed = save_segment(segment_id=None, name="a list", definition=None, actor="test")
        source, ended = world.rows[ContactImport], timezone.now() if status == "done" else None
        fields = {"segment": listed, "status": status, "finished_at": ended, "file_name": "people.csv"}
        ContactImport.objects.filter(pk=source.pk).update(**fields)
    page = operator.post(act_page(listed, "delete"), {"post": "yes"}, follow=True).content.decode()
    is_told = "a list is used by imports that still run: &#x27;people.csv&#x27;" in page
    with tenancy.tenant_scope(world.tenant.pk):
        stays = Segment.objects.filter(pk=listed.pk).exists()
    assert (is_told, stays) == (status == "ready", status == "ready")


def test_a_segment_that_nothing_uses_is_taken_away_with_its_members(operator, world):
    with tenancy.tenant_scope(world.tenant.pk):
        listed = save_segment(segment_id=None, name="a list", definition=None, actor="test")
        message = Message.objects.exclude(contact=None).first()
        change_members(segment_id=listed.pk, add=[message.contact_id], actor="test")
    answer = operator.post(act_page(listed, "delete"), {"post": "yes"})
    assert answer.status_code == 302
    with tenancy.tenant_scope(world.tenant.pk):
        assert not Segment.objects.filter(pk=listed.pk).exists()
