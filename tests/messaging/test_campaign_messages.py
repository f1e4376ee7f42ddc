"""What became of a campaign's messages, in the admin and by the API: who clicked, who got nothing, and why."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from messaging.actions.links import shorten_links
from messaging.actions.progress import _open_campaigns, _step_or_say
from messaging.models import Campaign, Click, Contact, Flow, Message, SendQueue, ShortLink
from messaging.queries.messages import STATES, in_state
from shopsync.models import Membership, User
from tests.factories import make_tenant, reload
from tests.messaging.campaigns import add_contacts, make_campaign
from tests.messaging.people import as_member, with_key

pytestmark = pytest.mark.django_db(transaction=True)
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1"
SENT = {"status": "done", "outcome": "sent"}


@pytest.fixture
def tenant():
    made = make_tenant(country="GR")
    add_contacts(made, 4)
    return made


@pytest.fixture
def campaign(tenant):
    made = make_campaign(tenant)
    with tenancy.tenant_scope(tenant.pk):
        Campaign.objects.filter(pk=made.pk).update(status="done", frozen_at=timezone.now(), finished_at=timezone.now())
    return made


def write(campaign, contact_number: int, **fields) -> Message:
    """Make a message of a campaign to one of the contacts, as it would be at some moment."""
    with tenancy.tenant_scope(campaign.tenant_id):
        contact = Contact.objects.order_by("pk")[contact_number]
        sent_at = timezone.now() - timedelta(hours=1)
        usual = {"channel": "sms", "address": contact.phone, "sent_at": sent_at, "finished_at": timezone.now()}
        return Message.objects.create(contact=contact, **{"campaign_id": campaign.pk, **usual, **SENT, **fields})


def follow(message: Message, url: str, *, user_agent: str = PHONE) -> None:
    """Follow a link of a message, long after the one before."""
    with tenancy.tenant_scope(message.tenant_id):
        shorten_links(texts={message.pk: f"See {url} now"}, base_url="https://m.example.com", channel="sms")
        link = ShortLink.objects.get(message=message, url=url)
        Click.objects.update(clicked_at=timezone.now() - timedelta(minutes=5))
    assert Client(headers={"User-Agent": user_agent}).get(f"/l/{link.code}").status_code == 302


def enter(tenant, role: str) -> Client:
    user = User.objects.create(username=f"{role}-of-{tenant.pk}", password="!", is_staff=True)
    Membership.objects.create(user=user, tenant=tenant, role=role)
    client = Client()
    client.force_login(user)
    return client


def admin_page(row, verb: str = "change") -> str:
    return f"/admin/messaging/{row._meta.model_name}/{row.pk}/{verb}/"


def cells(page: str) -> list[list[str]]:
    """Read the rows of a page's tables."""
    rows = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    return [[" ".join(re.sub("<[^>]+>", " ", cell).split()) for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)]
            for row in rows]  # fmt: skip


# Clicks


def test_a_campaign_counts_people_clicks_and_programs_by_link(tenant, campaign):
    first, second = write(campaign, 0), write(campaign, 1)
    for message in (first, first, second):
        follow(message, "https://a.example/sale")
    follow(second, "https://b.example/")
    follow(second, "https://b.example/", user_agent="WhatsApp/2.23.20.0")
    other = make_campaign(tenant)
    follow(write(other, 0), "https://a.example/sale")
    told = with_key(tenant).get(f"/api/v1/campaigns/{campaign.pk}").json()["clicks"]
    assert told == {
        "people": 2, "clicks": 4, "bots": 1,
        "links": [
            {"people": 2, "clicks": 3, "bots": 0, "url": "https://a.example/sale"},
            {"people": 1, "clicks": 1, "bots": 1, "url": "https://b.example/"},
        ],
    }  # fmt: skip
    rows = cells(enter(tenant, "viewer").get(admin_page(campaign)).content.decode())
    assert [row for row in rows if row[:1] in (["all links"], ["https://a.example/sale"], ["https://b.example/"])] == [
        ["all links", "2", "4", "1"], ["https://a.example/sale", "2", "3", "0"], ["https://b.example/", "1", "1", "1"],
    ]  # fmt: skip


def test_a_click_on_a_single_message_is_no_campaigns(tenant, campaign):
    follow(write(campaign, 0, campaign_id=None), "https://a.example/")
    with tenancy.tenant_scope(tenant.pk):
        assert Click.objects.get().campaign_id is None
    assert with_key(tenant).get(f"/api/v1/campaigns/{campaign.pk}").json()["clicks"] == {
        "people": 0, "clicks": 0, "bots": 0, "links": [],
    }  # fmt: skip


# Messages by state and reason

NOW = {"outcome": "", "sent_at": None, "finished_at": None}
EACH = {
    "waiting": {**NOW, "status": "ready"},
    "queued": {**NOW, "status": "ready", "flow": True},
    "calling": {**NOW, "status": "leased", "flow": True, "started": True},
    "unknown": {**NOW, "status": "unknown"},
    "buried": {**NOW, "status": "buried", "finished_at": timezone.now()},
    "sent": {},
    "delivered": {"outcome": "delivered"},
    "failed": {"outcome": "failed", "reason": "absent"},
    "skipped": {"outcome": "skipped", "reason": "no_consent"},
    "unknown_final": {"outcome": "unknown_final"},
}


def write_each(tenant, campaign) -> dict[str, Message]:
    """Make a message in each state."""
    add_contacts(tenant, len(EACH), first=100)
    with tenancy.tenant_scope(tenant.pk):
        flow = Flow.objects.create(queue=SendQueue.objects.create(channel="sms"), campaign=campaign, priority=1)
    made = {}
    for number, (state, fields) in enumerate(EACH.items()):
        values = dict(fields)
        if values.pop("flow", False):
            values["flow"] = flow
        if values.pop("started", False):
            soon = timezone.now() + timedelta(minutes=5)
            values |= {"started_at": timezone.now(), "lease_until": soon, "token": uuid.uuid4()}
        made[state] = write(campaign, number, **values)
    return made


def test_each_state_finds_the_messages_that_say_so(tenant, campaign):
    made = write_each(tenant, campaign)
    client, admin = with_key(tenant), enter(tenant, "viewer")
    assert {message.state for message in map(reload, made.values())} == set(made) == set(STATES) - {"quarantined"}
    for state, message in made.items():
        rows = client.get(f"/api/v1/messages?campaign_id={campaign.pk}&state={state}").json()["results"]
        assert [(row["id"], row["state"]) for row in rows] == [(message.pk, state)]
        page = admin.get(f"/admin/messaging/message/?campaign={campaign.pk}&state={state}").content.decode()
        assert set(re.findall(r"/admin/messaging/message/(\d+)/change/", page)) == {str(message.pk)}
    refused = client.get("/api/v1/messages?state=lost")
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["state"])


def test_a_leased_one_that_was_not_called_yet_is_queued(tenant, campaign):
    soon = timezone.now() + timedelta(minutes=5)
    message = write(campaign, 0, **NOW, status="leased", lease_until=soon, token=uuid.uuid4())
    with tenancy.tenant_scope(tenant.pk):
        assert list(in_state(Message.objects.all(), "queued")) == [message]
        assert not in_state(Message.objects.all(), "calling").exists()
    assert message.state == "queued"


def test_messages_are_found_by_reason(tenant, campaign):
    skipped = write(campaign, 0, outcome="skipped", reason="no_consent")
    write(campaign, 1, outcome="skipped", reason="suppressed")
    client, admin = with_key(tenant), enter(tenant, "viewer")
    rows = client.get("/api/v1/messages?reason=no_consent").json()["results"]
    assert [row["id"] for row in rows] == [skipped.pk]
    page = admin.get("/admin/messaging/message/?reason=no_consent").content.decode()
    assert set(re.findall(r"/admin/messaging/message/(\d+)/change/", page)) == {str(skipped.pk)}
    assert admin.get("/admin/messaging/message/?reason=%00").status_code in {200, 302, 400}


def test_a_campaigns_page_leads_to_its_messages_by_state_and_reason(tenant, campaign):
    made = write_each(tenant, campaign)
    admin = enter(tenant, "viewer")
    page = admin.get(admin_page(campaign)).content.decode()
    links = {unescape(link) for link in re.findall(r'href="(/admin/messaging/message/\?[^"]+)"', page)}
    assert len(links) == len(EACH) + 1
    assert f"/admin/messaging/message/?campaign={campaign.pk}&state=skipped&reason=no_consent" in links
    for link in links:
        state = re.search(r"state=(\w+)", link)[1]
        found = set(re.findall(r"/admin/messaging/message/(\d+)/change/", admin.get(link).content.decode()))
        assert found == {str(made[state].pk)}, link


def test_another_tenants_messages_are_found_by_no_filter(tenant, campaign):
    write(campaign, 0, outcome="skipped", reason="no_consent")
    stranger = with_key(make_tenant())
    for query in (f"campaign_id={campaign.pk}", "reason=no_consent", "state=skipped"):
        assert stranger.get(f"/api/v1/messages?{query}").json()["results"] == []


_ENDED = """
INSERT INTO messaging_message (tenant_id, campaign_id, contact_id, channel, address, status, outcome, reason,
    finished_at, lane, priority, attempts, due_at, blocker, last_error, created_at, trigger, sender, text, reference,
    provider_id)
SELECT tenant_id, %s, id, 'sms', phone, 'done',
    CASE id %% 100 WHEN 0 THEN 'failed' WHEN 1 THEN 'skipped' ELSE 'sent' END,
    CASE id %% 100 WHEN 0 THEN 'unknown number' WHEN 1 THEN 'no_consent' ELSE '' END,
    now(), '', 1, 0, now(), '', '', now(), '', '', '', gen_random_uuid(), ''
FROM messaging_contact WHERE tenant_id = %s"""


@pytest.mark.parametrize(
    ("chosen", "index"),
    [
        ({"outcome": "failed"}, "message_of_campaign_amiss"),
        ({"reason": "no_consent"}, "message_with_reason"),
    ],
)
def test_what_went_amiss_and_why_is_read_off_an_index_in_the_order_of_the_page(tenant, chosen, index):
    """No sort, and no message read that is not shown, however many there are."""
    add_contacts(tenant, 5000, first=10_000)
    campaign = make_campaign(tenant)
    with tenancy.tenant_scope(tenant.pk), connection.cursor() as cursor:
        cursor.execute(_ENDED, [campaign.pk, tenant.pk])
        cursor.execute("ANALYZE messaging_message")
        of_campaign = {"campaign_id": campaign.pk} if "outcome" in chosen else {}
        plan = Message.objects.filter(**chosen, **of_campaign).order_by("-pk")[:20].explain()
    assert f"using {index}" in plan
    assert "Sort" not in plan


# Drafts that are deleted


def test_a_draft_is_deleted_by_the_api_and_on_record(tenant):
    draft = make_campaign(tenant)
    owner, url = with_key(tenant), f"/api/v1/campaigns/{draft.pk}"
    assert as_member(tenant, "viewer").delete(url).status_code == 403
    assert with_key(make_tenant()).delete(url).status_code == 404
    assert (owner.delete(url).status_code, owner.get(url).status_code) == (204, 404)
    with tenancy.tenant_scope(tenant.pk):
        (event,) = AuditEvent.objects.filter(name="campaign.deleted")
    assert (event.subject, event.actor[:8]) == (f"campaign:{draft.pk}", "api_key:")


@pytest.mark.parametrize("status", ["scheduled", "paused", "done", "cancelled"])
def test_what_was_launched_once_stays(tenant, campaign, status):
    ended = {"finished_at": timezone.now() if status in {"done", "cancelled"} else None}
    with tenancy.tenant_scope(tenant.pk):
        Campaign.objects.filter(pk=campaign.pk).update(status=status, scheduled_at=timezone.now(), **ended)
    answer = with_key(tenant).delete(f"/api/v1/campaigns/{campaign.pk}")
    assert (answer.status_code, answer.json()["detail"]) == (
        409, f"The campaign is {status}: only a draft can be deleted.",
    )  # fmt: skip
    assert enter(tenant, "owner").post(admin_page(campaign, "delete"), {"post": "yes"}).status_code == 403
    assert reload(campaign).status == status


def test_a_draft_is_deleted_in_the_admin_by_whoever_may_write_it(tenant, campaign):
    draft = make_campaign(tenant)
    assert enter(tenant, "viewer").post(admin_page(draft, "delete"), {"post": "yes"}).status_code == 403
    operator, url = enter(tenant, "operator"), "/admin/messaging/campaign/"
    chosen = {"action": "delete_selected", "_selected_action": [draft.pk, campaign.pk], "post": "yes"}
    operator.post(url, chosen)  # one of the two is no draft
    assert reload(draft).status == "draft"
    assert operator.post(url, {**chosen, "_selected_action": [draft.pk]}).status_code == 302
    with tenancy.tenant_scope(tenant.pk):
        assert list(Campaign.objects.values_list("pk", flat=True)) == [campaign.pk]
        assert AuditEvent.objects.filter(name="campaign.deleted", actor__startswith="user:").count() == 1
    another = make_campaign(tenant)
    assert operator.post(admin_page(another, "delete"), {"post": "yes"}).status_code == 302
    with tenancy.tenant_scope(tenant.pk):
        assert not Campaign.objects.filter(pk=another.pk).exists()


def test_a_draft_that_is_deleted_after_it_was_listed_has_no_step_to_take(tenant):
    draft = make_campaign(tenant)
    with tenancy.tenant_scope(tenant.pk):
        Campaign.objects.filter(pk=draft.pk).update(preflight={"status": "asked", "part": 0, "of": 1, "so_far": {}})
    ((tenant_id, pk),) = _open_campaigns()
    assert with_key(tenant).delete(f"/api/v1/campaigns/{draft.pk}").status_code == 204
    with tenancy.tenant_scope(tenant_id):
        assert _step_or_say(pk) == 0
