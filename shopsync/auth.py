"""Who asks the API, and for which tenant: an API key (merchants' systems) or a JWT (people). Each carries one
tenant."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication

from config.infra import tenancy
from shopsync.models import ApiKey, Membership, User, hash_secret

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it reads the settings that name this module


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Api-Key SECRET`: enters the key's tenant."""

    keyword = "Api-Key"

    def authenticate(self, request: Request) -> tuple[ApiKey, None] | None:
        """Find the key and enter its tenant; None when another scheme is used.

        Raises: AuthenticationFailed for a key that is nobody's, or no longer active.
        """
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != self.keyword.lower():
            return None
        with tenancy.all_tenants(reason="an API key names its tenant"):
            key = ApiKey.objects.filter(secret_hash=hash_secret(secret.strip()), is_active=True).first()
        if key is None:
            raise AuthenticationFailed("This API key is unknown or no longer active; make a new one in the admin.")
        tenancy.enter(key.tenant_id)
        return key, None

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme for the 401's WWW-Authenticate."""
        return self.keyword


class TenantJWTAuthentication(JWTAuthentication):
    """`Authorization: Bearer TOKEN` from /api/v1/auth/token: enters the token's tenant while the membership lasts."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Check the token, then the membership it was issued for.

        Raises: AuthenticationFailed when the person is no longer a member.
        """
        found = super().authenticate(request)
        if found is None:
            return None
        user, token = found
        tenant_id = token.get("tenant_id")
        if not Membership.objects.filter(user_id=user.pk, tenant_id=tenant_id).exists():
            raise AuthenticationFailed("You are no longer a member of this tenant; sign in again.")
        tenancy.enter(tenant_id)
        return user, token


class AtTheDoor(BaseAuthentication):
    """Sign-in itself: asks for nothing, and lets a refusal be 401 rather than DRF's 403."""

    def authenticate(self, request: Request) -> None:
        """Know nobody yet."""

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme for the 401's WWW-Authenticate."""
        return "Bearer"


def client_address(request: HttpRequest) -> str:
    """Say whom a limit by address counts: the peer, or what our own proxy wrote last where one is trusted."""
    peer = request.META.get("REMOTE_ADDR") or "127.0.0.1"  # empty behind a Unix socket
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    try:
        return str(ip_address(forwarded if settings.TRUST_PROXY_HEADERS and forwarded else peer))
    except ValueError:
        return peer


class HasTenant(BasePermission):
    """A credential with a tenant is needed; what it can see is then the tenant scope's business."""

    message = "Sign in with an API key or a token: see /api/docs."

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Is a tenant in scope?"""
        return tenancy.tenant_id_or_none() is not None


class MayAct(HasTenant):
    """What is more than reading: for owners and operators, and for the merchant's own systems by their key."""

    message = "This is for owners and operators of the tenant; ask one of its owners for the role."
    roles: tuple[Membership.Role, ...] = (Membership.Role.OWNER, Membership.Role.OPERATOR)

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Is a tenant in scope, and may this person or key act in it?"""
        if not super().has_permission(request, view):
            return False
        caller: object = request.user
        if not isinstance(caller, User):
            return isinstance(caller, ApiKey)
        found = Membership.objects.filter(tenant_id=tenancy.current_tenant_id(), role__in=self.roles)
        return found.filter(user=caller).exists()


class MayConfigure(MayAct):
    """Settings: for owners, and for the merchant's own systems by their key."""

    message = "Settings are for owners of the tenant; ask one of them."
    roles = (Membership.Role.OWNER,)


class ReadOrAct:
    """A view set that everybody of the tenant reads, and whose other actions `acting` allows; put it first."""

    reads: ClassVar[frozenset[str]] = frozenset({"list", "retrieve"})
    acting: ClassVar[type[MayAct]] = MayAct
    action: str

    def get_permissions(self) -> list[BasePermission]:
        """Say who may do what is asked for."""
        if self.action in self.reads:
            return super().get_permissions()  # type: ignore[misc,no-any-return]  # of the view set
        return [self.acting()]


def actor_of(request: Request) -> str:
    """Name who asks, for the trail."""
    caller: object = request.user
    kind = "api_key" if isinstance(caller, ApiKey) else "user"
    return f"{kind}:{request.user.pk}"
