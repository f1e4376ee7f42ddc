"""What most tests of messaging start from: a provider's twin that reports nothing, and the tenant in scope."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from config.infra import tenancy
from messaging.providers.sandbox import SandboxServer
from shopsync.models import Tenant


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A twin of Mitto's that sends no reports by itself."""
    with SandboxServer() as server:
        server.behave(reports="none")
        yield server


@pytest.fixture
def in_scope(tenant: Tenant) -> Iterator[None]:
    """The test's whole body is in the tenant's scope."""
    with tenancy.tenant_scope(tenant.pk):
        yield
