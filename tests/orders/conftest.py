"""Fixtures of orders' tests."""

from __future__ import annotations

import pytest

from tests.factories import make_tenant
from tests.orders.shipping import shipping_desk


@pytest.fixture
def desk(transactional_db, settings, tmp_path):
    """A shipping desk whose files lie in a folder of the test's own."""
    settings.MEDIA_ROOT = tmp_path
    with shipping_desk(make_tenant()) as opened:
        yield opened
