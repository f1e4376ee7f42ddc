"""People in the admin: an owner, an operator, a viewer, a stranger of another tenant, and a superuser."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from shopsync.models import User
from tests.world import World, make_person, make_world


@pytest.fixture(autouse=True)
def _sign_in_is_fast(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def other_world(world: World) -> World:
    return make_world()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def owner(world: World) -> Client:
    return signed_in(make_person("owner", tenant=world.tenant))


@pytest.fixture
def operator(world: World) -> Client:
    return signed_in(make_person("operator", tenant=world.tenant, role="operator"))


@pytest.fixture
def viewer(world: World) -> Client:
    return signed_in(make_person("viewer", tenant=world.tenant, role="viewer"))


@pytest.fixture
def stranger(other_world: World) -> Client:
    return signed_in(make_person("stranger", tenant=other_world.tenant))


@pytest.fixture
def superuser(db: None) -> Client:
    return signed_in(make_person("root", is_superuser=True))
