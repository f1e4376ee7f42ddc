"""Whose data the admin shows: one's own, what was chosen, and all of it only when that was chosen and recorded."""

from __future__ import annotations

import pytest
from django.urls import reverse

from audit.models import AuditEvent
from config.infra import tenancy
from orders.models import Order
from shopsync.models import ApiKey, Connection, Membership, Tenant, User, WebhookEvent
from tests.admin.conftest import signed_in
from tests.admin.pages import MODELS, change_page, change_pages, list_page
from tests.factories import make_tenant
from tests.world import make_person

SWITCH = "/admin/tenant"


def _events(name):
    with tenancy.all_tenants(reason="tests look at every row"):
        return list(AuditEvent.objects.filter(name=name).values_list("tenant_id", "actor"))


def test_a_stranger_reaches_no_page_of_another_tenant(stranger, world, other_world):
    for page in change_pages(world):
        answer = stranger.get(page)
        assert answer.status_code in {302, 404}, page
        assert stranger.post(page, {}).status_code in {302, 403, 404}
    for row in [
        *Membership.objects.filter(tenant=world.tenant),
        *User.objects.filter(memberships__tenant=world.tenant),
    ]:
        assert stranger.get(change_page(row)).status_code in {302, 404}


def test_a_stranger_sees_nothing_of_another_tenant_in_any_list(stranger, owner, world, other_world):
    for model in MODELS:
        page = stranger.get(list_page(model)).content.decode()
        assert world.tenant.shop_domain not in page, model
        assert other_world.tenant.shop_domain in page  # the badge
        if model in world.rows:
            assert change_page(world.rows[model]) not in page
            assert change_page(world.rows[model]) in owner.get(list_page(model)).content.decode()


def test_a_stranger_acts_on_nothing_of_another_tenant(stranger, world):
    for page in change_pages(world):
        for action in ("replay", "address", "delete", "history"):
            url = page.replace("/change/", f"/{action}/")
            assert stranger.get(url).status_code in {302, 403, 404}, url
            assert stranger.post(url).status_code in {302, 403, 404}, url
    with tenancy.tenant_scope(world.tenant.pk):
        assert not AuditEvent.objects.filter(actor__startswith="user:").exists()


def test_whoever_is_of_no_tenant_is_told_so(db):
    client = signed_in(make_person("new"))
    answer = client.get(list_page(Order), follow=True)
    assert b"not a member of any tenant yet" in answer.content
    assert client.get("/admin/").status_code == 200


def test_a_member_of_two_switches_between_them(world, other_world):
    user = make_person("ann", tenant=world.tenant)
    Membership.objects.create(user=user, tenant=other_world.tenant, role="viewer")
    client = signed_in(user)
    assert client.get(change_page(world.rows[Order])).status_code == 200
    answer = client.post(SWITCH, {"tenant": other_world.tenant.pk, "next": list_page(Order)})
    assert answer["Location"] == list_page(Order)
    assert client.get(change_page(other_world.rows[Order])).status_code == 200
    assert client.get(change_page(world.rows[Order])).status_code == 302
    assert _events("tenant.opened") == []


@pytest.mark.parametrize("chosen", ["all", "0", "nonsense", "", "\x00", "9" * 30, "²"])
def test_members_can_open_neither_all_nor_others(owner, world, other_world, chosen):
    assert owner.post(SWITCH, {"tenant": chosen}).status_code == 403
    assert owner.post(SWITCH, {"tenant": other_world.tenant.pk}).status_code == 403
    assert other_world.tenant.shop_domain not in owner.get(SWITCH).content.decode()


def test_a_superuser_chooses_first_and_each_choice_is_recorded(superuser, world, other_world):
    root = User.objects.get(username="root")
    answer = superuser.get(list_page(Order))
    assert answer["Location"] == f"{SWITCH}?next=%2Fadmin%2Forders%2Forder%2F"
    assert world.tenant.shop_domain in superuser.get(answer["Location"]).content.decode()
    superuser.post(SWITCH, {"tenant": world.tenant.pk})
    assert _events("tenant.opened") == [(world.tenant.pk, f"user:{root.pk}")]
    assert superuser.get(change_page(world.rows[Order])).status_code == 200
    assert superuser.get(change_page(other_world.rows[Order])).status_code == 302
    superuser.post(SWITCH, {"tenant": "all"})
    assert _events("all_tenants.opened") == [(None, f"user:{root.pk}")]
    for one in (world, other_world):
        assert superuser.get(change_page(one.rows[Order])).status_code == 200


def test_all_tenants_shows_whose_each_row_is_and_every_page_opens(superuser, world, other_world):
    superuser.post(SWITCH, {"tenant": "all"})
    page = superuser.get(list_page(Order)).content.decode()
    assert world.tenant.shop_domain in page
    assert other_world.tenant.shop_domain in page
    for url in [list_page(model) for model in MODELS] + change_pages(world) + change_pages(other_world):
        assert superuser.get(url).status_code == 200, url


@pytest.mark.parametrize(
    "wanted", ["https://evil.example.com/", "//evil.example.com/admin/", "/admin/\\evil", "javascript:alert(1)", "/x"]
)
def test_the_switcher_leads_to_no_other_site(owner, world, wanted):
    answer = owner.post(SWITCH, {"tenant": world.tenant.pk, "next": wanted})
    assert answer["Location"] == "/admin/"


def test_the_choice_ends_with_the_membership(world, other_world):
    user = make_person("ann", tenant=world.tenant)
    Membership.objects.create(user=user, tenant=other_world.tenant)
    client = signed_in(user)
    client.post(SWITCH, {"tenant": other_world.tenant.pk})
    Membership.objects.filter(tenant=other_world.tenant).delete()
    assert client.get(change_page(other_world.rows[Order])).status_code == 302


def test_people_without_the_staff_flag_see_the_login_page_only(db):
    user = make_person("guest", tenant=make_tenant())
    user.is_staff = False
    user.save()
    for page in [SWITCH, "/admin/", *(list_page(model) for model in MODELS)]:
        assert signed_in(user).get(page)["Location"].startswith("/admin/login/")
    assert reverse("admin:login") == "/admin/login/"
    assert Tenant.objects.exists()


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (Connection, "token__startswith"),
        (Connection, "api_key__contains"),
        (ApiKey, "secret_hash__startswith"),
        (WebhookEvent, "body__contains"),
        (Tenant, "access_token__startswith"),
        (User, "password__startswith"),
    ],
)
def test_no_list_can_be_asked_letter_by_letter_for_a_secret(owner, superuser, model, lookup):
    for client in (owner, superuser):
        answer = client.get(list_page(model), {lookup: "a"})
        assert answer.status_code in {302, 400, 403}, (model, lookup)
        if answer.status_code == 302:
            assert "e=1" in answer["Location"] or "/admin/tenant" in answer["Location"]
