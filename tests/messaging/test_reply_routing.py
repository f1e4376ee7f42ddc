"""Whose a reply is: by its number, by the conversation, by a person; and who hears of STOP on a shared one."""

from __future__ import annotations

import pytest
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEvent
from config.infra import tenancy
from config.local.deliveries import register_reports
from messaging.actions.consent import state_consent
from messaging.actions.reviews import ReplyError, assign_reply, decide_reply
from messaging.models import Contact, InboundMessage, Sender, SendingPolicy
from messaging.providers.sandbox import SandboxServer
from shopsync.models import Connection, Membership, User
from tests.messaging.people import as_member, with_key
from tests.messaging.replying import NUMBER, PERSON, answers_of, make_replied_to, own_number, reply, state_of, wrote
from tests.messaging.twins import Client as Twin
from tests.messaging.twins import Receiver

pytestmark = pytest.mark.django_db(transaction=True)
OPEN, QUIET, STOPPED = ("", "subscribed"), ("", ""), ("stop", "unsubscribed")


@pytest.fixture
def ours():
    return make_replied_to(name="Ours", shop_domain="ours.myshopify.com")


@pytest.fixture
def theirs():
    return make_replied_to(name="Theirs", shop_domain="theirs.myshopify.com")


@pytest.fixture
def stranger():
    return make_replied_to(name="Stranger", number="+302107654321", shop_domain="stranger.myshopify.com")


def count(tenant):
    with tenancy.tenant_scope(tenant.pk):
        return InboundMessage.objects.count()


# Routing


def test_a_number_of_one_tenant_routes_to_it_wherever_the_reply_arrives(ours, theirs):
    own_number(theirs)
    wrote(ours)
    found = reply(ours, "hello", to="302101234567")
    assert (found.tenant_id, found.routed_by, found.came_by) == (theirs.pk, "number", via_of(ours))


def test_who_has_not_the_key_of_an_account_moves_nobody_of_it(ours):
    """A tenant knows its own call-back address; a STOP posted there says nothing of another account's customers."""
    forger = make_replied_to(name="Forger", shop_domain="forger.myshopify.com", key="another key")
    own_number(ours)
    wrote(ours)
    found = reply(forger, "STOP")
    assert (found.tenant_id, found.routed_by) == (forger.pk, "")
    assert state_of(ours) == OPEN


def test_stop_in_the_language_of_who_wrote_earlier_is_one_for_all_who_wrote(ours, theirs):
    with tenancy.tenant_scope(theirs.pk):
        SendingPolicy.objects.create(reply_languages=["el"])
    wrote(theirs)
    wrote(ours)
    found = reply(ours, "ΣΤΟΠ")
    assert (found.tenant_id, found.kind) == (ours.pk, "optout")
    assert state_of(ours) == state_of(theirs) == STOPPED


def via_of(tenant):
    with tenancy.tenant_scope(tenant.pk):
        return Connection.objects.get(service="mitto").pk


def test_a_shared_number_routes_to_who_wrote_last(ours, theirs):
    own_number(ours)
    own_number(theirs)
    wrote(ours)
    wrote(theirs)
    assert reply(ours, "hello").tenant_id == theirs.pk
    wrote(ours)
    found = reply(theirs, "hello again")
    assert (found.tenant_id, found.routed_by) == (ours.pk, "conversation")
    assert found.contact_id is not None


def test_a_message_that_never_got_out_is_no_conversation(ours, theirs):
    wrote(ours)
    wrote(theirs, outcome="failed", reason="refused")
    assert reply(theirs, "hello").tenant_id == ours.pk


def test_a_number_that_is_off_or_one_way_routes_nothing(ours, theirs):
    with tenancy.tenant_scope(theirs.pk):
        Sender.objects.create(channel="sms", value=NUMBER, is_two_way=True, is_active=False)
        Sender.objects.create(channel="sms", value=NUMBER, country="GR", is_two_way=False)
    wrote(ours)
    assert reply(theirs, "hello").tenant_id == ours.pk


def test_without_a_number_it_is_the_one_last_written_from(ours):
    wrote(ours, sender="+302100000001")
    found = reply(ours, "hello", to="")
    assert (found.recipient, found.routed_by) == ("+302100000001", "conversation")


def test_a_reply_of_no_phone_number_is_kept_and_does_nothing(ours):
    own_number(ours)
    found = reply(ours, "STOP", address="Info")
    assert (found.address, found.effect, found.note) == ("Info", "", "it comes from no phone number")


# STOP and START on a shared number


def test_stop_is_for_every_tenant_that_wrote_from_the_number_and_no_other(ours, theirs, stranger):
    wrote(theirs)
    wrote(ours)
    wrote(stranger, sender="+302107654321")
    reply(ours, "STOP")
    assert [state_of(one) for one in (ours, theirs, stranger)] == [STOPPED, STOPPED, OPEN]
    assert [len(answers_of(one)) for one in (ours, theirs, stranger)] == [1, 0, 0]
    assert (count(ours), count(theirs), count(stranger)) == (1, 0, 0)


def test_start_is_for_the_same_tenants(ours, theirs, stranger):
    wrote(theirs)
    wrote(ours)
    reply(ours, "STOP")
    reply(ours, "UNSTOP")
    assert [state_of(one) for one in (ours, theirs)] == [OPEN, OPEN]
    assert state_of(stranger) == QUIET


def test_yes_to_one_shop_is_no_consent_to_another(ours, theirs):
    wrote(theirs)
    with tenancy.tenant_scope(theirs.pk):
        contact = Contact.objects.get()
        state_consent(contact=contact, channel="sms", state="unsubscribed", source="api", actor="test",
                      stated_at=timezone.now(), address=PERSON)  # fmt: skip
    wrote(ours)
    reply(ours, "YES")
    assert [state_of(one) for one in (ours, theirs)] == [OPEN, ("", "unsubscribed")]


def test_stop_reaches_the_tenant_of_the_number_that_never_wrote(ours, theirs):
    own_number(theirs)
    wrote(ours)
    reply(ours, "STOP")
    assert [state_of(one) for one in (ours, theirs)] == [STOPPED, STOPPED]
    assert [len(answers_of(one)) for one in (ours, theirs)] == [0, 1]


def test_an_emoji_sign_is_left_to_a_person(ours):
    wrote(ours)
    assert reply(ours, "🛑").review == "open"
    assert reply(ours, "STOP 🛑").effect == "optout"


# Unrouted


def test_a_reply_that_is_nobodys_waits_where_it_arrived_and_acts_once_assigned(ours, theirs):
    found = reply(ours, "STOP", to="+302109999999")
    assert (found.tenant_id, found.routed_by, found.review, found.effect) == (ours.pk, "", "open", "")
    with tenancy.tenant_scope(ours.pk):
        with pytest.raises(ReplyError, match="assigned to a tenant first"):
            decide_reply(reply_id=found.pk, decision="optout", actor="user:1", now=timezone.now())
        assign_reply(reply_id=found.pk, tenant_id=theirs.pk, actor="user:1", now=timezone.now())
        assert not InboundMessage.objects.exists()
    assert [state_of(one) for one in (ours, theirs)] == [QUIET, STOPPED]
    with tenancy.tenant_scope(theirs.pk):
        moved = InboundMessage.objects.get()
        assert (moved.routed_by, moved.effect, moved.review) == ("operator", "optout", "")
        with pytest.raises(ReplyError, match="already"):
            assign_reply(reply_id=moved.pk, tenant_id=ours.pk, actor="user:1", now=timezone.now())
    assert len(answers_of(theirs)) == 1


def test_a_near_miss_that_was_nobodys_still_waits_once_assigned(ours):
    found = reply(ours, "please stop sending", to="+302109999999")
    with tenancy.tenant_scope(ours.pk):
        assigned = assign_reply(reply_id=found.pk, tenant_id=ours.pk, actor="user:1", now=timezone.now())
        assert (assigned.review, assigned.routed_by) == ("open", "operator")
        decided = decide_reply(reply_id=found.pk, decision="optout", actor="user:1", now=timezone.now())
        assert decided.effect == "optout"
    assert state_of(ours)[0] == "stop"


def test_an_unrouted_one_can_be_put_aside(ours):
    found = reply(ours, "STOP", to="+302109999999")
    with tenancy.tenant_scope(ours.pk):
        decided = decide_reply(reply_id=found.pk, decision="nothing", actor="user:1", now=timezone.now())
        assert (decided.review, decided.effect) == ("done", "")


def test_the_trail_tells_of_it_without_the_text(ours):
    wrote(ours)
    reply(ours, "STOP, says marker")
    with tenancy.tenant_scope(ours.pk):
        (event,) = AuditEvent.objects.filter(name="reply.received")
        assert event.data == {"kind": "review", "routed_by": "conversation"}


def test_the_database_keeps_a_contact_at_home(ours, theirs):
    wrote(theirs)
    found = reply(theirs, "hello")
    with (
        pytest.raises(IntegrityError, match="is_of_its_tenant"),
        transaction.atomic(),
        tenancy.tenant_scope(theirs.pk),
    ):
        InboundMessage.objects.filter(pk=found.pk).update(tenant=ours)


# The API


def test_the_api_shows_and_decides(ours, theirs):
    wrote(ours)
    found = reply(ours, "please stop this")
    client = with_key(ours)
    assert [row["id"] for row in client.get("/api/v1/replies?review=open&is_unrouted=false").json()["results"]] == [
        found.pk
    ]
    assert client.get("/api/v1/replies?is_unrouted=true").json()["results"] == []
    url = f"/api/v1/replies/{found.pk}"
    assert client.get(url).json()["text"] == "please stop this"
    stranger = with_key(theirs)
    assert stranger.get(url).status_code == stranger.post(f"{url}/decide", {"decision": "optout"}).status_code == 404
    assert as_member(ours, "viewer").post(f"{url}/decide", {"decision": "optout"}, format="json").status_code == 403
    assert client.post(f"{url}/decide", {"decision": "perhaps"}, format="json").status_code == 400
    for _ in range(2):
        key = {"Idempotency-Key": "once"}
        answer = client.post(f"{url}/decide", {"decision": "optout"}, format="json", headers=key)
        assert (answer.status_code, answer.json()["effect"]) == (200, "optout")
    assert client.post(f"{url}/decide", {"decision": "nothing"}, format="json").status_code == 409
    assert state_of(ours) == STOPPED


def test_the_api_writes_no_confirmation_for_anybody(ours):
    contact = wrote(ours).contact_id
    body = {"contact_id": contact, "text": "Sale", "purpose": "confirmation"}
    assert with_key(ours).post("/api/v1/messages", body, format="json").status_code == 400


# The admin


def enter(client, tenant, role, **fields):
    user = User.objects.create(username=f"{role}-{tenant.pk}", password=make_password("x"), is_staff=True, **fields)
    Membership.objects.create(user=user, tenant=tenant, role=role)
    client.force_login(user)
    return client


def press(client, url, **values):
    key = client.get(url).context["form"]["key"].value()
    return client.post(url, {"key": key, **values})


def test_an_operator_decides_in_the_admin(client, ours):
    wrote(ours)
    found = reply(ours, "please stop this")
    operator = enter(client, ours, "operator")
    page = operator.get(reverse("admin:messaging_inboundmessage_changelist") + "?review__exact=open")
    assert "please stop this" in page.content.decode()
    url = f"/admin/messaging/inboundmessage/{found.pk}/decide/"
    assert press(operator, url, decision="optout").status_code == 302
    assert state_of(ours) == STOPPED


def test_an_operator_assigns_to_tenants_of_their_own_and_a_superuser_to_all(client, ours, theirs):
    first, second = (reply(ours, "STOP", to="+302109999999", address=f"+30691234567{n}") for n in (1, 2))
    url = f"/admin/messaging/inboundmessage/{first.pk}/assign/"
    operator = enter(client, ours, "operator")
    refused = press(operator, url, tenant=theirs.shop_domain)
    assert "There is no tenant of this domain that you act for" in refused.content.decode()
    assert press(operator, url, tenant=ours.shop_domain).status_code == 302
    assert state_of(ours, "+306912345671")[0] == "stop"
    assert "It is somebody&#x27;s already." in press(operator, url, tenant=ours.shop_domain).content.decode()
    root = User.objects.create(username="root", password="!", is_staff=True, is_superuser=True)
    client.force_login(root)
    client.post(reverse("admin:shopsync_switch_tenant"), {"tenant": "all"})
    page = client.get(reverse("admin:messaging_inboundmessage_changelist") + "?whose=nobody")
    assert page.content.decode().count("+306912345672") >= 1
    url = f"/admin/messaging/inboundmessage/{second.pk}/assign/"
    assert press(client, url, tenant=theirs.shop_domain.upper()).status_code == 302
    assert state_of(theirs, "+306912345672")[0] == "stop"


def test_a_viewer_decides_nothing(client, ours):
    wrote(ours)
    found = reply(ours, "please stop this")
    viewer = enter(client, ours, "viewer")
    for path in ("decide", "assign"):
        assert viewer.get(f"/admin/messaging/inboundmessage/{found.pk}/{path}/").status_code == 403


# By the API


def assign(client, reply, key=None, **body):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/api/v1/replies/{reply.pk}/assign", body, format="json", headers=headers)


def test_a_key_takes_what_arrived_with_its_tenant_for_that_tenant_alone(ours, theirs):
    found = reply(ours, "STOP", to="+302109999999")
    assert assign(with_key(theirs), found).status_code == 404
    refused = assign(with_key(ours), found, tenant=theirs.shop_domain)
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["tenant"])
    assert state_of(ours) == QUIET
    taken = assign(with_key(ours), found)
    assert (taken.status_code, taken.json()) == (200, {"id": found.pk, "tenant": ours.shop_domain})
    assert state_of(ours) == STOPPED
    with tenancy.tenant_scope(ours.pk):
        assert AuditEvent.objects.filter(name="reply.assigned", actor__startswith="api_key:").count() == 1
    again = assign(with_key(ours), found)
    assert (again.status_code, again.json()["detail"]) == (409, "It is somebody's already.")


def test_a_token_assigns_to_the_tenants_that_its_person_acts_for(ours, theirs):
    found = reply(ours, "STOP", to="+302109999999")
    person = as_member(ours, "operator")
    membership = Membership.objects.create(user=User.objects.get(), tenant=theirs, role="viewer")
    assert assign(person, found, tenant=theirs.shop_domain).status_code == 400
    Membership.objects.filter(pk=membership.pk).update(role="operator")
    given = [assign(person, found, key="once", tenant=theirs.shop_domain.upper()) for _ in range(2)]
    assert [(one.status_code, one.json()) for one in given] == [
        (200, {"id": found.pk, "tenant": theirs.shop_domain})
    ] * 2
    assert [state_of(one) for one in (ours, theirs)] == [QUIET, STOPPED]
    assert assign(person, found).status_code == 404


def test_a_viewer_assigns_nothing_by_the_api(ours):
    found = reply(ours, "STOP", to="+302109999999")
    assert assign(as_member(ours, "viewer"), found).status_code == 403
    assert state_of(ours) == QUIET


# The twin


def test_the_sandbox_posts_replies_to_hooks_of_replies_alone():
    reports, replies = Receiver(), Receiver()
    with SandboxServer() as sandbox:
        register_reports(sandbox.base_url, account_id="a", url=reports.url)
        register_reports(sandbox.base_url, account_id="a", url=replies.url, trigger="Inbound")
        twin = Twin(sandbox.port)
        given = {"account": "a", "from": PERSON, "to": NUMBER, "text": "STOP"}
        status, answer = twin("POST", "/sandbox/reply", given)
        assert (status, answer["posted"], answer["taken"]) == (200, 1, 1)
        (posted,) = replies.documents()
        assert {name: posted[name] for name in ("from", "to", "text", "id")} == {
            "from": PERSON, "to": NUMBER, "text": "STOP", "id": answer["id"],
        }  # fmt: skip
        assert twin("POST", "/sandbox/reply", given | {"account": "b"})[0] == 404
        assert twin("POST", "/sandbox/reply", given | {"from": 3})[0] == 400
        assert reports.bodies == []
    reports.close()
    replies.close()
