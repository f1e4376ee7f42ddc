"""Sign-in: one tenant per token, asked again at each refresh, slowed down, open when Redis is away."""

from __future__ import annotations

import time_machine
from django.core.cache import caches
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken

from shopsync.models import Membership, User
from tests.api.conftest import sign_in
from tests.factories import make_tenant
from tests.world import PASSWORD, make_person


def refresh(token):
    return APIClient().post("/api/v1/auth/refresh", {"refresh": token}, format="json")


def test_a_member_of_one_tenant_need_not_name_it(db):
    tenant = make_tenant()
    make_person("ann", tenant=tenant)
    answer = sign_in("ann")
    assert answer.status_code == 200
    assert answer.json()["tenant"] == tenant.shop_domain
    assert AccessToken(answer.json()["access"])["tenant_id"] == tenant.pk


def test_a_member_of_two_names_one(db):
    one, two = make_tenant(), make_tenant()
    user = make_person("ann", tenant=one)
    Membership.objects.create(user=user, tenant=two, role="viewer")
    answer = sign_in("ann")
    assert answer.status_code == 400
    assert one.shop_domain in answer.json()["errors"]["tenant"][0]
    assert AccessToken(sign_in("ann", tenant=two.shop_domain.upper()).json()["access"])["tenant_id"] == two.pk


def test_a_tenant_of_others_and_one_that_does_not_exist_are_refused_alike(db):
    make_person("ann", tenant=make_tenant())
    answers = [sign_in("ann", tenant=name) for name in (make_tenant().shop_domain, "no-such.myshopify.com")]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].json() == answers[1].json()


def test_wrong_passwords_unknown_names_and_closed_accounts_are_refused_alike(db):
    make_person("ann", tenant=make_tenant())
    make_person("gone", tenant=make_tenant(), is_active=False)
    client = APIClient()
    answers = [
        client.post("/api/v1/auth/token", {"username": name, "password": password}, format="json")
        for name, password in (("ann", "wrong"), ("nobody", PASSWORD), ("gone", PASSWORD))
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0]["Content-Type"] == "application/problem+json"


def test_refreshing_keeps_the_tenant_and_asks_again_for_the_membership(db):
    tenant = make_tenant()
    user = make_person("ann", tenant=tenant)
    token = sign_in("ann").json()["refresh"]
    assert AccessToken(refresh(token).json()["access"])["tenant_id"] == tenant.pk
    Membership.objects.all().delete()
    assert refresh(token).status_code == 401
    Membership.objects.create(user=user, tenant=tenant)
    assert refresh(token).status_code == 200
    User.objects.update(is_active=False)
    assert refresh(token).status_code == 401
    user.delete()
    assert refresh(token).status_code == 401


def test_a_new_password_ends_the_refresh_token(db):
    user = make_person("ann", tenant=make_tenant())
    token = sign_in("ann").json()["refresh"]
    user.set_password("another long pass phrase")
    user.save()
    assert refresh(token).status_code == 401


def test_an_access_token_is_no_refresh_token_and_the_other_way_round(db):
    make_person("ann", tenant=make_tenant())
    tokens = sign_in("ann").json()
    assert refresh(tokens["access"]).status_code == 401
    answer = APIClient(headers={"Authorization": f"Bearer {tokens['refresh']}"}).get("/api/v1/orders")
    assert answer.status_code == 401
    assert "auth/token" in answer.json()["detail"]


def test_an_expired_access_token_says_where_to_get_another(db):
    make_person("ann", tenant=make_tenant())
    with time_machine.travel("2026-01-01T00:00:00Z"):
        token = sign_in("ann").json()["access"]
    with time_machine.travel("2026-01-01T00:16:00Z"):
        answer = APIClient(headers={"Authorization": f"Bearer {token}"}).get("/api/v1/orders")
    assert answer.status_code == 401
    assert "expired" in answer.json()["detail"]


def test_guessing_is_slowed_down_by_name_and_by_address(db):
    make_person("ann", tenant=make_tenant())
    client = APIClient()
    with time_machine.travel("2026-01-01T00:00:00Z", tick=False):
        wrong = [
            client.post("/api/v1/auth/token", {"username": "ann", "password": "x"}, format="json") for _ in range(11)
        ]
        assert [answer.status_code for answer in wrong] == [401] * 10 + [429]
        assert wrong[-1]["Content-Type"] == "application/problem+json"
        assert wrong[-1]["Retry-After"] == "60"
        assert "wait" in wrong[-1].json()["detail"]
        others = [
            client.post("/api/v1/auth/token", {"username": f"u{i}", "password": "x"}, format="json") for i in range(20)
        ]
        assert [others[i].status_code for i in (18, 19)] == [401, 429]


def test_without_redis_people_can_still_sign_in(db, settings):
    settings.CACHES = {
        **settings.CACHES,
        "system": {**settings.CACHES["system"], "LOCATION": "redis://127.0.0.1:1/0"},
    }
    assert caches["system"].get("anything") is None
    make_person("ann", tenant=make_tenant())
    assert sign_in("ann").status_code == 200
