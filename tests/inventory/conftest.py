"""A tenant in scope, and its clock."""

from __future__ import annotations

import pytest

from config.infra import tenancy
from tests.factories import make_tenant
from tests.inventory.looks import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ours(db):
    tenant = make_tenant()
    with tenancy.tenant_scope(tenant.pk):
        yield tenant
