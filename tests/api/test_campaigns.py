"""Campaigns, credits and single messages by the API: who may do what, and what each step answers."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from config.infra import tenancy
from messaging.actions.progress import advance_campaigns
from messaging.models import Campaign, Contact, CreditAccount, Message, QuietHours, TemplateVersion
from messaging.tasks import drain_messages
from tests.world import World

pytestmark = pytest.mark.django_db(transaction=True)


def post(client: APIClient, path: str, body: Any = None, **headers: str) -> Any:
    """POST under a key of its own."""
    named = {"Idempotency-Key": str(uuid.uuid4()), **headers}
    return client.post(f"/api/v1/{path}", body or {}, format="json", headers=named)


def is_refused(answer: Any, *, field: str, words: str) -> bool:
    """Is it refused as bad input, by this field and no other, in these words?"""
    assert answer.status_code == 400, answer.json()
    assert list(answer.json()["errors"]) == [field]
    return words in answer.json()["errors"][field][0]


@pytest.fixture
def campaign(world: World) -> Campaign:
    row = world.rows[Campaign]
    assert isinstance(row, Campaign)
    return row


@pytest.fixture
def body(campaign: Campaign) -> dict[str, Any]:
    """What a campaign is written with."""
    names = ("channel", "segment_id", "template_version_id", "sender_id")
    return {"name": "Another", **{name: getattr(campaign, name) for name in names}}


def test_a_campaign_goes_from_draft_to_cancelled_in_words(owner, campaign, body):
    made = post(owner, "campaigns", body)
    assert (made.status_code, made.json()["status"]) == (201, "draft")
    path = f"campaigns/{made.json()['id']}"
    changed = owner.put(f"/api/v1/{path}", {**body, "name": "Other", "holdout_percent": "10.5"}, format="json")
    assert (changed.status_code, changed.json()["name"], changed.json()["holdout_percent"]) == (200, "Other", "10.50")
    report = post(owner, f"{path}/preflight").json()["preflight"]
    assert report["status"] == "ready"
    assert report["recipients"] + sum(report["skipped"].values()) == report["contacts"] > 0
    later = post(owner, f"{path}/preflight", {"scheduled_at": "2099-01-01T09:00:00Z"}).json()
    assert (later["preflight"]["reckoned_from"], later["scheduled_at"]) == ("2099-01-01T09:00:00+00:00", None)
    past = post(owner, f"{path}/preflight", {"scheduled_at": "2001-01-01T09:00:00Z"})
    assert is_refused(past, field="scheduled_at", words="in the past")
    launched = post(owner, f"{path}/launch", {"scheduled_at": "2099-01-01T09:00:00Z"})
    assert (launched.status_code, launched.json()["status"]) == (200, "scheduled")
    assert post(owner, f"{path}/pause").json()["status"] == "paused"
    assert post(owner, f"{path}/resume").json()["status"] == "scheduled"
    assert post(owner, f"{path}/cancel").json()["status"] == "cancelled"
    again = post(owner, f"{path}/cancel")
    assert (again.status_code, again.json()["detail"]) == (409, "The campaign is cancelled already.")


def test_a_launch_is_frozen_at_once_and_its_progress_is_shown(owner, world, campaign):
    launched = post(owner, f"campaigns/{campaign.pk}/launch").json()
    assert launched["status"] == "sending"
    with tenancy.tenant_scope(world.tenant.pk):
        contacts = Contact.objects.count()
    assert launched["progress"]["total"] == contacts
    advance_campaigns()
    shown = owner.get(f"/api/v1/campaigns/{campaign.pk}").json()["progress"]
    assert sum(state["messages"] for state in shown["states"].values()) == contacts
    assert sum(shown["skipped"].values()) == shown["states"].get("skipped", {"messages": 0})["messages"]


def test_the_same_key_launches_once(owner, campaign):
    key = {"Idempotency-Key": "launch-it"}
    first, second = (post(owner, f"campaigns/{campaign.pk}/launch", **key) for _ in range(2))
    assert (first.status_code, second.status_code, first.json()["status"]) == (200, 200, second.json()["status"])


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"segment_id": 10**12}, "segment_id", "There is no segment"),
        ({"template_version_id": 10**12}, "template_version_id", "There is no version"),
        ({"channel": "email"}, "template_version_id", "The template is for sms"),
        ({"sender_id": 10**12}, "sender_id", "no active sender"),
        ({"holdout_percent": "91"}, "holdout_percent", "90"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_field(owner, body, campaign, change, field, words):
    for answer in (
        post(owner, "campaigns", {**body, **change}),
        owner.put(f"/api/v1/campaigns/{campaign.pk}", {**body, **change}, format="json"),
    ):
        assert is_refused(answer, field=field, words=words)


def test_a_time_that_does_not_fit_is_bad_input_and_an_expired_draft_is_a_state(owner, body, campaign):
    path = f"campaigns/{campaign.pk}"
    past = post(owner, f"{path}/launch", {"scheduled_at": "2001-01-01T09:00:00Z"})
    assert is_refused(past, field="scheduled_at", words="in the past")
    owner.put(f"/api/v1/{path}", {**body, "expires_at": "2098-01-01T09:00:00Z"}, format="json")
    late = post(owner, f"{path}/launch", {"scheduled_at": "2099-01-01T09:00:00Z"})
    assert is_refused(late, field="scheduled_at", words="expires before")
    owner.put(f"/api/v1/{path}", {**body, "expires_at": "2001-01-01T09:00:00Z"}, format="json")
    expired = post(owner, f"{path}/launch")
    assert (expired.status_code, "later expires_at" in expired.json()["detail"]) == (409, True)


def test_what_is_no_draft_is_neither_written_nor_reported_on_nor_launched(owner, body, campaign):
    path = f"campaigns/{campaign.pk}"
    post(owner, f"{path}/launch", {"scheduled_at": "2099-01-01T09:00:00Z"})
    for answer in (
        owner.put(f"/api/v1/{path}", body, format="json"),
        post(owner, f"{path}/preflight"),
        post(owner, f"{path}/launch"),
        post(owner, f"{path}/resume"),
    ):
        assert (answer.status_code, "The campaign is scheduled" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"text": "x", "template_version_id": 1}, "text", "either a text or"),
        ({"text": "", "template_version_id": 10**12}, "template_version_id", "There is no version"),
        ({"text": "x", "contact_id": 10**12}, "contact_id", "There is no contact"),
        ({"text": "x" * 1601}, "text", "1600"),
        ({"text": "x", "channel": "whatsapp"}, "channel", "not by whatsapp"),
        ({"text": "x", "channel": "email"}, "template_version_id", "written by a template"),
    ],
)
def test_what_is_no_message_is_refused_by_its_field(owner, world, given, field, words):
    with tenancy.tenant_scope(world.tenant.pk):
        contact = Contact.objects.get(email="buyer1@example.com")
        before = Message.objects.count()
    body = {"contact_id": contact.pk, "purpose": "transactional", **given}
    assert is_refused(post(owner, "messages", body), field=field, words=words)
    with tenancy.tenant_scope(world.tenant.pk):
        assert Message.objects.count() == before


def test_a_value_that_the_contact_has_not_is_named(owner, world):
    body = {"name": "gaps", "channel": "sms", "body": "Hi {{ contact.attributes.size }}"}
    version = post(owner, "templates", body).json()["versions"][0]["id"]
    with tenancy.tenant_scope(world.tenant.pk):
        contact = Contact.objects.get(email="buyer1@example.com")
    given = {"contact_id": contact.pk, "template_version_id": version, "purpose": "transactional"}
    words = "The contact has no contact.attributes.size"
    assert is_refused(post(owner, "messages", given), field="template_version_id", words=words)


def test_staff_who_only_look_write_and_launch_nothing(staff, campaign, body):
    assert post(staff, "campaigns", body).status_code == 403
    assert post(staff, f"campaigns/{campaign.pk}/launch").status_code == 403
    assert staff.get(f"/api/v1/campaigns/{campaign.pk}").json()["status"] == "draft"


def test_a_test_is_sent_to_one_contact_and_belongs_to_no_campaign(owner, world, campaign):
    with tenancy.tenant_scope(world.tenant.pk):
        contact = Contact.objects.get(email="buyer1@example.com")
    sent = post(owner, f"campaigns/{campaign.pk}/test", {"contact_id": contact.pk})
    assert sent.status_code == 201, sent.json()
    assert (sent.json()["campaign_id"], sent.json()["state"]) == (None, "waiting")
    assert sent.json()["text"].startswith("Hello")


def test_a_single_message_is_written_and_waits_for_its_turn(owner, world):
    with tenancy.tenant_scope(world.tenant.pk):
        contact = Contact.objects.get(email="buyer1@example.com")
    sent = post(owner, "messages", {"contact_id": contact.pk, "text": "It is here", "purpose": "transactional"})
    assert (sent.status_code, sent.json()["state"], sent.json()["blocker"]) == (201, "waiting", "being_prepared")


def test_an_unknown_message_is_settled_by_hand_and_nothing_else_is(owner, world):
    with tenancy.tenant_scope(world.tenant.pk):
        unknown = Message.objects.get(status="unknown")
        done = Message.objects.filter(status="done").first()
    assert post(owner, f"messages/{done.pk}/settle", {"was_sent": True}).status_code == 409
    settled = post(owner, f"messages/{unknown.pk}/settle", {"was_sent": False})
    assert (settled.status_code, settled.json()["state"]) == (200, "failed")


def test_credits_are_read_and_limited_and_not_topped_up_by_the_api(owner, staff, world):
    balance = owner.get("/api/v1/credits").json()
    assert (balance["available"], balance["held"], balance["left_today"]) == ("1000.0000", "0.0000", "500.0000")
    policy = {"daily_cap": "20", "low_balance_at": None, "countries": ["GR", "CY"]}
    assert owner.put("/api/v1/credits/policy", policy, format="json").json()["countries"] == ["CY", "GR"]
    assert staff.put("/api/v1/credits/policy", policy, format="json").status_code == 403
    assert owner.get("/api/v1/credits").json()["left_today"] == "20.0000"
    for wrong in ("Greece", "QQ"):
        bad = owner.put("/api/v1/credits/policy", {**policy, "countries": ["GR", wrong]}, format="json")
        assert (bad.status_code, list(bad.json()["errors"])) == (400, ["countries"])
    assert owner.post("/api/v1/credits", {"amount": 5}, format="json").status_code == 405
    entries = owner.get("/api/v1/credits/transactions").json()["results"][0]["entries"]
    assert sorted(entry["amount"] for entry in entries) == ["-1000.0000", "1000.0000"]
    with tenancy.tenant_scope(world.tenant.pk):
        assert CreditAccount.objects.get(kind="available").balance == 1000


def test_a_test_to_nobody_and_an_archived_template_are_refused_in_words(owner, world, campaign, body):
    refused = post(owner, f"campaigns/{campaign.pk}/test", {"contact_id": 999_999_999})
    assert is_refused(refused, field="contact_id", words="There is no contact")
    with tenancy.tenant_scope(world.tenant.pk):
        template_id = TemplateVersion.objects.get(pk=body["template_version_id"]).template_id
    assert post(owner, f"templates/{template_id}/archive").status_code == 200
    assert is_refused(post(owner, "campaigns", body), field="template_version_id", words="is archived")
    launched = post(owner, f"campaigns/{campaign.pk}/launch")  # the draft's, and not of what was sent
    assert (launched.status_code, "is archived" in launched.json()["detail"]) == (409, True)


def test_what_a_campaign_waits_for_is_said_although_nothing_stops_it_as_a_whole(owner, world, campaign):
    with tenancy.tenant_scope(world.tenant.pk):
        QuietHours.objects.all().delete()
        quiet = timezone.now() + timedelta(hours=30)
        QuietHours.objects.create(starts_at=quiet.time(), ends_at=(quiet + timedelta(minutes=1)).time())
    post(owner, f"campaigns/{campaign.pk}/launch", {"scheduled_at": "2099-01-01T09:00:00Z"})
    assert owner.get(f"/api/v1/campaigns/{campaign.pk}").json()["waits_for"] == "its_time"
    with tenancy.tenant_scope(world.tenant.pk):
        Campaign.objects.filter(pk=campaign.pk).update(scheduled_at=timezone.now())
    advance_campaigns()
    drain_messages()
    assert owner.get(f"/api/v1/campaigns/{campaign.pk}").json()["waits_for"] in {"quiet_hours", "no_connection"}
