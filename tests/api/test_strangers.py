"""Whoever is not of the tenant gets nothing: every path of the API, found by walking the URL map."""

from __future__ import annotations

import re

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from config.infra import tenancy
from messaging.models import Contact, Message
from orders.models import Order
from shopsync.models import ApiKey, Membership, User

ACTS = {"api/v1/alerts/<int:pk>/acknowledge"}  # POST; tests/api/test_alerts.py
OPEN = {"api/v1/auth/token", "api/v1/auth/refresh"}
METHODS = {"get", "post", "put", "patch", "delete"}
SINGLE = {  # neither lists nor rows: tests/messaging/test_contacts_api.py, test_campaigns_api.py
    "api/v1/contacts/export": {"get"},
    "api/v1/credits": {"get"},
    "api/v1/credits/policy": {"get", "put"},
    "api/v1/sending-policy": {"get", "put"},
    "api/v1/prices": {"get"},  # tests/api/test_limits.py
    "api/v1/send-limits": {"get"},
}


def _walk(patterns: list[URLPattern | URLResolver], prefix: str = "") -> dict[str, set[str]]:
    """Find each route and the methods it answers."""
    found: dict[str, set[str]] = {}
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found |= _walk(pattern.url_patterns, route)
        else:
            found[route] = SINGLE.get(route) or set(getattr(pattern.callback, "actions", None) or {})
    return found


ROUTES = {
    path: methods
    for path, methods in sorted(_walk(get_resolver().url_patterns).items())
    if path.startswith("api/v1/") and path not in OPEN
}
PATHS = list(ROUTES)
LISTS = [path for path, methods in ROUTES.items() if "get" in methods and "<" not in path and path not in SINGLE]
DETAILS = [path for path, methods in ROUTES.items() if "get" in methods and path.endswith("/<int:pk>")]
WRITES = [(path, method) for path, methods in ROUTES.items() for method in sorted(methods - {"get"})]
REFUSED = [(path, method) for path, methods in ROUTES.items() for method in sorted(METHODS - methods)]


def test_the_walk_finds_the_whole_api():
    assert len(LISTS) == len(DETAILS) >= 12
    assert ("api/v1/reservations", "post") in WRITES
    assert ("api/v1/payments/<int:pk>/refunds", "post") in WRITES
    assert ("api/v1/locations/<int:pk>", "patch") in WRITES


def ids_of(owner, path: str) -> list[int]:
    return [row["id"] for row in owner.get(f"/{re.sub('/<.*', '', path)}").json()["results"]]


@pytest.mark.parametrize("path", DETAILS)
def test_a_stranger_gets_404_for_every_object(owner, stranger, world, path):
    ids = ids_of(owner, path)
    assert ids
    for pk in ids:
        answer = stranger.get("/" + path.replace("<int:pk>", str(pk)))
        assert answer.status_code == 404, (path, pk)
        assert answer["Content-Type"] == "application/problem+json"
        assert owner.get("/" + path.replace("<int:pk>", str(pk))).status_code == 200


@pytest.mark.parametrize(("path", "method"), [write for write in WRITES if "<" in write[0]])
def test_a_stranger_can_write_to_no_object(owner, stranger, world, path, method):
    ids = ids_of(owner, path)
    assert ids
    for pk in ids:
        answer = getattr(stranger, method)("/" + path.replace("<int:pk>", str(pk)), {}, format="json")
        assert answer.status_code == 404, (path, pk, answer.content)


@pytest.mark.parametrize(("path", "method"), WRITES)
def test_a_viewer_writes_nothing(staff, path, method):
    answer = getattr(staff, method)("/" + path.replace("<int:pk>", "1"), {}, format="json")
    assert answer.status_code == 403
    assert "owners" in answer.json()["detail"]


@pytest.mark.parametrize("path", LISTS)
def test_a_stranger_of_an_empty_tenant_gets_empty_lists(world, newcomer, path):
    rows = newcomer.get(f"/{path}").json()["results"]
    own_beginning = {"tenant.created", "api_key.created"} if path.endswith("audit-events") else set()
    assert {row.get("name") for row in rows} == own_beginning


@pytest.mark.parametrize("path", LISTS)
def test_two_tenants_share_no_row(owner, stranger, path):
    mine = {row["id"] for row in owner.get(f"/{path}?page_size=200").json()["results"]}
    theirs = {row["id"] for row in stranger.get(f"/{path}?page_size=200").json()["results"]}
    assert mine
    assert theirs
    assert not mine & theirs


@pytest.mark.parametrize("path", PATHS)
def test_nobody_gets_401_with_a_problem_document(nobody, world, path):
    for method in ROUTES[path]:
        answer = getattr(nobody, method)(f"/{path.replace('<int:pk>', '1')}")
        assert answer.status_code == 401
        assert answer["Content-Type"] == "application/problem+json"
        assert answer["WWW-Authenticate"] == "Api-Key"
        assert "Api-Key" in answer.json()["detail"]


@pytest.mark.parametrize(("path", "method"), REFUSED)
def test_what_is_no_method_of_a_path_is_refused(world, newcomer, path, method):
    answer = getattr(newcomer, method)(f"/{path.replace('<int:pk>', '1')}", {}, format="json")
    assert answer.status_code == 405
    assert answer.json()["detail"].startswith(f'Method "{method.upper()}" not allowed.')


def test_a_filter_reaches_no_other_tenants_rows(stranger, world):
    with tenancy.tenant_scope(world.tenant.pk):
        contact, order = world.rows[Contact].pk, world.rows[Order].pk
        reference = Message.objects.filter(contact_id=contact).first()
    assert reference is not None
    assert stranger.get(f"/api/v1/messages?contact_id={contact}").json()["results"] == []
    assert stranger.get(f"/api/v1/audit-events?subject=order:{order}").json()["results"] == []


def test_a_cursor_of_another_tenant_shows_ones_own_rows_only(owner, stranger):
    cursor = owner.get("/api/v1/orders?page_size=1").json()["next"].partition("?")[2]
    mine = {row["id"] for row in stranger.get("/api/v1/orders").json()["results"]}
    assert {row["id"] for row in stranger.get(f"/api/v1/orders?{cursor}").json()["results"]} <= mine


def test_an_api_key_that_was_switched_off_opens_nothing(owner, world):
    with tenancy.tenant_scope(world.tenant.pk):
        ApiKey.objects.update(is_active=False)
    answer = owner.get("/api/v1/orders")
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")


def test_a_token_ends_with_the_membership(staff, world):
    assert staff.get("/api/v1/orders").status_code == 200
    Membership.objects.filter(tenant=world.tenant).delete()
    assert staff.get("/api/v1/orders").status_code == 401


def test_a_token_ends_with_the_account_and_with_a_new_password(staff):
    user = User.objects.get(username="staff")
    user.set_password("another long pass phrase")
    user.save()
    assert staff.get("/api/v1/orders").status_code == 401
    User.objects.update(is_active=False)
    assert staff.get("/api/v1/orders").status_code == 401
