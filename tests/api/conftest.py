"""Three people who ask the API: the owner (by key and by token), staff (a viewer), a stranger of another tenant."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import caches
from rest_framework.test import APIClient

from config.infra import tenancy
from shopsync.actions.tenants import create_api_key
from tests.factories import make_tenant
from tests.world import PASSWORD, World, make_person
from tests.worlds import other_world, shared_other_world, shared_world, world

__all__ = ["other_world", "shared_other_world", "shared_world", "world"]


@pytest.fixture(autouse=True)
def _sign_in_is_fast_and_unlimited(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    caches["system"].clear()


def sign_in(name: str, **fields: str) -> Any:
    return APIClient().post("/api/v1/auth/token", {"username": name, "password": PASSWORD, **fields}, format="json")


def with_token(name: str, **fields: str) -> APIClient:
    answer = sign_in(name, **fields)
    assert answer.status_code == 200, answer.content
    return APIClient(headers={"Authorization": f"Bearer {answer.json()['access']}"})


def with_key(world: World) -> APIClient:
    return APIClient(headers={"Authorization": f"Api-Key {world.api_key}"})


@pytest.fixture
def owner(world: World) -> APIClient:
    """The owner's own system, by key."""
    return with_key(world)


@pytest.fixture
def newcomer(db: None) -> APIClient:
    """The key of a tenant without anything in it, where rows are not the point."""
    with tenancy.tenant_scope(make_tenant().pk):
        return APIClient(headers={"Authorization": f"Api-Key {create_api_key(name='new', actor='test').secret}"})


@pytest.fixture
def staff(world: World) -> APIClient:
    """A viewer, by token."""
    make_person("staff", tenant=world.tenant, role="viewer")
    return with_token("staff")


@pytest.fixture
def stranger(other_world: World) -> APIClient:
    """Somebody of another tenant, by token."""
    make_person("stranger", tenant=other_world.tenant)
    return with_token("stranger")


@pytest.fixture
def nobody() -> APIClient:
    return APIClient()
