"""Fixtures of every suite: two tenants, three people, and the stack of real processes for flow tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import connection
from psycopg.pq import TransactionStatus

from inventory.queries import find_drift
from orders.queries import find_misallocation
from shopsync.models import Membership, Tenant, User
from tests import databases, emptying
from tests.factories import make_tenant
from tests.services import services_root
from tests.stack import Stack, running_stack

# Each test client would look through every static file anew, for 40 ms; the processes of `stack` do serve them.
settings.WHITENOISE_USE_FINDERS = False
PASSWORD = "a-password-of-the-tests-1"
_hashed: list[str] = []


def _person(name: str, tenant: Tenant, role: str) -> User:
    """Create a person with PASSWORD, who may enter the admin, and their membership."""
    if not _hashed:
        _hashed.append(make_password(PASSWORD))  # slow by design: once a session
    user = User.objects.create(username=name, password=_hashed[0], is_staff=True)
    Membership.objects.create(user=user, tenant=tenant, role=role)
    return user


@pytest.fixture
def tenant(db: None) -> Tenant:
    """The tenant whose data a test is about."""
    return make_tenant(shop_domain="first-shop.myshopify.com", name="First shop")


@pytest.fixture
def other_tenant(db: None) -> Tenant:
    """Another tenant, whose people must see nothing of the first."""
    return make_tenant(shop_domain="other-shop.myshopify.com", name="Other shop")


@pytest.fixture
def owner(tenant: Tenant) -> User:
    """The tenant's owner."""
    return _person("owner", tenant, Membership.Role.OWNER)


@pytest.fixture
def staff(tenant: Tenant) -> User:
    """Somebody who works for the tenant: an operator."""
    return _person("staff", tenant, Membership.Role.OPERATOR)


@pytest.fixture
def stranger(other_tenant: Tenant) -> User:
    """The owner of another tenant."""
    return _person("stranger", other_tenant, Membership.Role.OWNER)


@pytest.fixture(scope="session")
def django_db_keepdb(
    request: pytest.FixtureRequest, django_db_modify_db_settings: None, django_db_blocker: Any
) -> bool:
    """Whether Django finds its test database made: by an earlier session where one is restored."""
    with django_db_blocker.unblock():
        return databases.restore() or request.config.getvalue("reuse_db")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Keep the database for sessions to come; let transactional tests end faster than Django lets them."""
    with django_db_blocker.unblock():
        databases.keep()
        emptying.install(emptying.take_baseline())


def _is_broken_off() -> bool:
    """Did an error of PostgreSQL's end the transaction that the test ran in? Then nothing of it remains."""
    wrapped = connection.connection
    return wrapped is not None and wrapped.info.transaction_status == TransactionStatus.INERROR


@pytest.fixture(autouse=True)
def _ledger_equals_level(request: pytest.FixtureRequest) -> Iterator[None]:
    """Prove after every test that touched the database: each level is what its ledger, reservations and orders say.

    A test that makes drift on purpose is marked `drifts`.
    """
    uses_database = request.node.get_closest_marker("django_db") or {"db", "transactional_db"} & {*request.fixturenames}
    if uses_database:
        request.getfixturevalue("_django_db_helper")  # set up before this fixture, so emptied after it
    yield
    if uses_database and not request.node.get_closest_marker("drifts") and not _is_broken_off():
        checks = (find_drift, find_misallocation)
        found = [drift for tenant in Tenant.objects.all() for check in checks for drift in check(tenant_id=tenant.pk)]
        assert found == []


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests of the stack together, first: they last longest, and one process is to run them all."""
    items.sort(key=lambda item: not _needs_stack(item))
    for item in items:
        if _needs_stack(item):
            item.add_marker(pytest.mark.xdist_group("stack"))


def _needs_stack(item: pytest.Item | None) -> bool:
    return "stack" in getattr(item, "fixturenames", ())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Stop the stack after the last of its tests: its worker would take the work rows of the others'."""
    yield
    if _needs_stack(item) and not _needs_stack(nextitem):
        item.funcargs["_stack_of_session"].stop()


@pytest.fixture(scope="session")
def _stack_of_session(django_db_setup: None) -> Iterator[Stack]:
    yield from running_stack(services_root() / "stack")


@pytest.fixture
def stack(_stack_of_session: Stack, transactional_db: None, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Real processes on the test database: up, idle, with a fresh sandbox; idle again before the tables are emptied."""
    _stack_of_session.revive()
    yield _stack_of_session
    report = getattr(request.node, "call_report", None)
    if report is None or report.failed:
        print(_stack_of_session.log_tails())
    _stack_of_session.quiesce()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Keep a test's own report where its fixtures find it."""
    report = yield
    if report.when == "call":
        item.call_report = report
    return report
