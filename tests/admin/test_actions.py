"""What each role may do, and that doing it is recorded."""

from __future__ import annotations

import re

import pytest

from audit.models import AuditEvent, DeadLetter
from config.infra import tenancy
from messaging.models import Automation, Message
from orders.models import Order, Payment
from shopsync.models import ApiKey, Connection, Membership, Tenant, User, WebhookEvent
from shopsync.tasks import drain_webhooks
from tests.admin.pages import change_page, list_page
from tests.factories import reload
from tests.world import PASSWORD, SECRET, make_person


def _names(world):
    with tenancy.tenant_scope(world.tenant.pk):
        events = AuditEvent.objects.filter(actor__startswith="user:").order_by("id")
        return [(event.name, event.subject) for event in events]


def _letter(world, status):
    with tenancy.tenant_scope(world.tenant.pk):
        return DeadLetter.objects.get(status=status, queue="messages")


def _replay_url(row):
    return change_page(row).replace("/change/", "/replay/")


def test_replaying_one_asks_first_and_works_on_it_again(operator, world):
    row = world.rows[WebhookEvent]
    page = operator.get(change_page(row)).content.decode()
    assert _replay_url(row) in page
    assert b"idempotent" in operator.get(_replay_url(row)).content
    assert reload(row).status == "done"
    operator.post(_replay_url(row))
    assert reload(row).status == "ready"
    assert _names(world) == [("webhook_event.replayed", f"webhook_event:{row.pk}")]
    drain_webhooks()
    assert reload(row).status == "done"


def test_replaying_a_selection(operator, world):
    with tenancy.tenant_scope(world.tenant.pk):
        ids = list(WebhookEvent.objects.filter(topic="orders/create").values_list("pk", flat=True))
    operator.post(list_page(WebhookEvent), {"action": "replay_selected", "_selected_action": ids})
    with tenancy.tenant_scope(world.tenant.pk):
        assert set(WebhookEvent.objects.filter(status="ready").values_list("pk", flat=True)) == set(ids)


def test_replaying_all_that_match_the_filter(operator, world):
    page = operator.get(f"{list_page(WebhookEvent)}?topic=orders%2Fcreate").content.decode()
    (link,) = re.findall(r'href="(/admin/shopsync/webhookevent/replay-matching/[^"]*)"', page)
    assert b"3 deliveries match" in operator.get(link).content
    answer = operator.post(link)
    assert answer["Location"] == f"{list_page(WebhookEvent)}?topic=orders%2Fcreate"
    with tenancy.tenant_scope(world.tenant.pk):
        assert {row.topic for row in WebhookEvent.objects.filter(status="ready")} == {"orders/create"}
    assert len(_names(world)) == 3


def test_a_viewer_can_do_nothing(viewer, world):
    rows = world.rows
    letter = _letter(world, "buried")
    for url in [_replay_url(rows[WebhookEvent]), _replay_url(letter), "/admin/shopsync/apikey/make/",
                change_page(rows[Connection]).replace("/change/", "/address/")]:  # fmt: skip
        assert viewer.get(url).status_code == 403, url
        assert viewer.post(url).status_code == 403, url
    viewer.post("/admin/shopsync/webhookevent/replay-matching/")
    viewer.post(list_page(WebhookEvent), {"action": "replay_selected", "_selected_action": [rows[WebhookEvent].pk]})
    viewer.post(list_page(DeadLetter), {"action": "replay_selected", "_selected_action": [letter.pk]})
    for row in (rows[Connection], rows[Tenant], rows[Automation], rows[ApiKey], rows[Order]):
        assert viewer.post(change_page(row), {"name": "changed"}).status_code == 403
    assert viewer.get("/admin/shopsync/connection/add/").status_code == 403
    assert "Replay all" not in viewer.get(list_page(WebhookEvent)).content.decode()
    assert reload(rows[WebhookEvent]).status == "done"
    assert _names(world) == []


def test_an_operator_acts_but_changes_no_setting(operator, world):
    for row in (world.rows[Connection], world.rows[Tenant], world.rows[Automation], world.rows[ApiKey]):
        assert operator.post(change_page(row), {"name": "changed"}).status_code == 403
    assert operator.get("/admin/shopsync/apikey/make/").status_code == 403


def test_mirrors_and_ledgers_can_be_changed_by_nobody(owner, world):
    for model in (Order, Message, WebhookEvent, AuditEvent, DeadLetter):
        row = world.rows[model]
        assert owner.post(change_page(row), {"name": "changed"}).status_code == 403
        assert owner.post(change_page(row).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
        assert owner.get(f"{list_page(model)}add/").status_code == 403


def test_a_buried_message_is_sent_again_after_a_question(operator, world):
    letter = _letter(world, "buried")
    assert change_page(letter) in operator.get(list_page(DeadLetter)).content.decode()
    operator.get(_replay_url(letter))
    operator.post(_replay_url(letter))
    with tenancy.tenant_scope(world.tenant.pk):
        assert Message.objects.get(pk=letter.row_id).status == "ready"
    assert _names(world) == [("dead_letter.replayed", f"message:{letter.row_id}")]


def test_an_unknown_message_is_sent_again_only_when_a_person_says_so_knowing_it(operator, world):
    letter = _letter(world, "unknown")

    def status():
        with tenancy.tenant_scope(world.tenant.pk):
            return Message.objects.get(pk=letter.row_id).status

    assert b"may have been sent already" in operator.post(_replay_url(letter)).content
    page = operator.post(list_page(DeadLetter), {"action": "replay_selected", "_selected_action": [letter.pk]})
    assert b"may get the same message twice" in page.content
    assert status() == "unknown"
    hidden = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.content.decode().partition('id="confirm"')[2]))
    operator.post(list_page(DeadLetter), hidden)
    assert status() == "ready"
    assert _names(world) == [("dead_letter.replayed", f"message:{letter.row_id}")]


def test_a_quarantined_delivery_is_replayed_from_the_dead_letters_too(operator, world):
    with tenancy.tenant_scope(world.tenant.pk):
        letter = DeadLetter.objects.get(queue="webhooks")
    page = operator.get(change_page(letter)).content.decode()
    assert f"/admin/shopsync/webhookevent/{letter.row_id}/change/" in page
    operator.post(_replay_url(letter))
    with tenancy.tenant_scope(world.tenant.pk):
        assert WebhookEvent.objects.get(pk=letter.row_id).status == "ready"


def test_a_new_key_is_shown_once_and_works(owner, world, client):
    page = owner.post("/admin/shopsync/apikey/make/", {"name": "till"}).content.decode()
    (secret,) = re.findall(r"<pre[^>]*>([\w-]{40,})</pre>", page)
    assert client.get("/api/v1/orders", headers={"Authorization": f"Api-Key {secret}"}).status_code == 200
    assert secret not in owner.get(list_page(ApiKey)).content.decode()
    assert [name for name, _ in _names(world)] == ["api_key.created"]
    assert owner.post("/admin/shopsync/apikey/make/", {"name": ""}).status_code == 200


def test_a_key_is_switched_off(owner, world, client):
    key = world.rows[ApiKey]
    owner.post(change_page(key), {"name": "erp"})
    assert not reload(key).is_active
    assert client.get("/api/v1/orders", headers={"Authorization": f"Api-Key {world.api_key}"}).status_code == 401
    assert _names(world) == [("api_key.updated", f"api_key:{key.pk}")]


def test_a_connections_secrets_go_in_and_never_come_out(owner, world):
    row = world.rows[Connection]
    form = {"service": "mitto", "name": "main", "base_url": "", "account_id": "7", "sender": "Demo", "is_active": "on"}
    owner.post(change_page(row), form)
    assert (reload(row).account_id, reload(row).api_key) == ("7", f"{SECRET}-connection")
    owner.post(change_page(row), {**form, "new_api_key": "fresh-and-secret"})
    assert (reload(row).api_key, reload(row).signing_secret) == ("fresh-and-secret", f"{SECRET}-connection")
    assert "fresh-and-secret" not in owner.get(change_page(row)).content.decode()
    assert [name for name, _ in _names(world)] == ["connection.updated"] * 2
    with tenancy.tenant_scope(world.tenant.pk):
        assert "fresh" not in str(list(AuditEvent.objects.values_list("data", flat=True)))


def test_a_connection_is_added_for_the_tenant_that_is_open(owner, world):
    form = {"service": "stripe", "name": "", "is_active": "on", "new_api_key": "sk", "new_signing_secret": "wh"}
    owner.post("/admin/shopsync/connection/add/", form)
    with tenancy.tenant_scope(world.tenant.pk):
        made = Connection.objects.exclude(pk=world.rows[Payment].connection_id).get(service="stripe")
    assert (made.tenant_id, made.api_key, made.signing_secret) == (world.tenant.pk, "sk", "wh")


def test_a_callback_address_is_shown_when_asked_for_and_that_is_recorded(owner, world):
    row = world.rows[Connection]
    url = change_page(row).replace("/change/", "/address/")
    assert row.token not in owner.get(url).content.decode()
    assert f"/webhooks/mitto/dlr/{row.token}" in owner.post(url).content.decode()
    assert _names(world) == [("connection.address_shown", f"connection:{row.pk}")]


def test_an_owner_changes_the_tenants_settings_and_not_its_tokens(owner, world):
    form = {"name": "New name", "timezone": "Europe/Paris", "country": "FR"}
    owner.post(change_page(world.tenant), form | {"access_token": "stolen", "shop_domain": "other.myshopify.com"})
    tenant = reload_tenant(world)
    assert (tenant.name, tenant.shop_domain, tenant.access_token) == (
        "New name", world.tenant.shop_domain, f"{SECRET}-token",
    )  # fmt: skip
    assert _names(world) == [("tenant.updated", f"tenant:{tenant.pk}")]


def reload_tenant(world):
    return Tenant.objects.get(pk=world.tenant.pk)


def test_an_owner_changes_a_role_and_lets_people_go_but_not_themselves(owner, world):
    user = make_person("ben", tenant=world.tenant, role="viewer")
    membership = Membership.objects.get(user=user)
    owner.post(change_page(membership), {"role": "operator", "tenant": "999", "user": "1"})
    membership.refresh_from_db()
    assert (membership.role, membership.user_id, membership.tenant_id) == ("operator", user.pk, world.tenant.pk)
    own = Membership.objects.get(user__username="owner")
    assert owner.post(change_page(own).replace("/change/", "/delete/"), {"post": "yes"}).status_code == 403
    owner.post(change_page(membership).replace("/change/", "/delete/"), {"post": "yes"})
    assert not Membership.objects.filter(pk=membership.pk).exists()
    assert [name for name, _ in _names(world)] == ["membership.updated", "membership.deleted"]


def test_only_superusers_change_people(owner, superuser, world):
    ben = make_person("ben", tenant=world.tenant)
    form = {"username": "ben", "is_superuser": "on", "is_active": "on", "is_staff": "on"}
    assert owner.post(change_page(ben), form).status_code == 403
    password = change_page(ben).replace("/change/", "/password/")
    assert owner.get(password).status_code == 403
    assert owner.post(password, {"password1": PASSWORD, "password2": PASSWORD}).status_code == 403
    assert not User.objects.get(username="ben").is_superuser
    superuser.post(change_page(ben), {**form, "is_superuser": "", "first_name": "Ben"})
    assert User.objects.get(username="ben").first_name == "Ben"
    made = {"username": "new", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert superuser.post("/admin/shopsync/user/add/", made).status_code == 302
    assert User.objects.get(username="new").check_password(PASSWORD)


def test_a_superuser_adds_a_member(superuser, world):
    ben = make_person("ben")
    form = {"user": ben.pk, "tenant": world.tenant.pk, "role": "viewer"}
    assert superuser.post("/admin/shopsync/membership/add/", form).status_code == 302
    assert Membership.objects.get(user=ben).role == "viewer"


@pytest.mark.parametrize("person", ["operator", "superuser"])
def test_replaying_with_all_tenants_open_is_recorded_with_the_rows_own_tenant(request, world, person):
    client = request.getfixturevalue(person)
    client.post("/admin/tenant", {"tenant": "all"})
    client.post(_replay_url(world.rows[WebhookEvent]))
    assert [name for name, _ in _names(world)][-1] == "webhook_event.replayed"
