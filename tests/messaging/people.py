"""Three people who ask the API in these tests: the owner's system, a viewer, a stranger of another tenant."""

from __future__ import annotations

from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import RefreshToken

from config.infra import tenancy
from shopsync.actions.tenants import create_api_key
from shopsync.models import Membership, Tenant, User


def with_key(tenant: Tenant) -> APIClient:
    """Ask as the tenant's own system."""
    with tenancy.tenant_scope(tenant.pk):
        secret = create_api_key(name="erp", actor="test").secret
    return APIClient(headers={"Authorization": f"Api-Key {secret}"})


def as_member(tenant: Tenant, role: str) -> APIClient:
    """Ask as somebody of the tenant, by token."""
    user = User.objects.create(username=f"{role}-{tenant.pk}", password="!")
    Membership.objects.create(user=user, tenant=tenant, role=role)
    token = RefreshToken.for_user(user)
    token["tenant_id"] = tenant.pk
    return APIClient(headers={"Authorization": f"Bearer {token.access_token}"})
