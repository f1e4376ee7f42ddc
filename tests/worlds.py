"""One world for all tests of a module, where each that uses the database uses it.

It takes longer to make than most of them last. The module runs in one transaction that is rolled back; each test in a
savepoint of it, as always.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from django.db import transaction

from tests.world import World, make_world


@pytest.fixture(scope="module")
def shared_world(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: Any
) -> Iterator[World | None]:
    """The world of a module; None where a test does without, or ends transactions of its own."""
    mine = [item for item in request.session.items if item.path == request.path]
    if not all(map(_may_share, mine)):
        yield None
        return
    whole = transaction.atomic()
    whole._from_testcase = True  # type: ignore[attr-defined]  # as of a TestCase: what is durable may begin in it
    with django_db_blocker.unblock(), whole:
        yield make_world()
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def shared_other_world(shared_world: World | None, django_db_blocker: Any) -> World | None:
    """Another tenant's world, beside the module's."""
    if shared_world is None:
        return None
    with django_db_blocker.unblock():
        return make_world()


@pytest.fixture
def world(shared_world: World | None, db: None) -> World:
    """A tenant with everything in it."""
    return make_world() if shared_world is None else deepcopy(shared_world)


@pytest.fixture
def other_world(shared_other_world: World | None, world: World) -> World:
    """Another tenant with everything in it."""
    return make_world() if shared_other_world is None else deepcopy(shared_other_world)


def _may_share(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("django_db")
    ends_transactions = marker is not None and marker.kwargs.get("transaction", False)
    names = getattr(item, "fixturenames", ())
    uses_no_database = marker is None and not {"db", "transactional_db"} & set(names)
    return uses_no_database or ("world" in names and "transactional_db" not in names and not ends_transactions)
