"""Sign-in of people: a password buys tokens for one tenant, a refresh token buys another access token for the same."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import authenticate
from django.http import HttpRequest
from django_ratelimit.core import is_ratelimited
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.exceptions import AuthenticationFailed, ParseError, PermissionDenied, Throttled, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from shopsync.auth import AtTheDoor
from shopsync.models import Membership, User
from shopsync.serializers import AccessToken, Refresh, SignIn, Tokens

PER_ADDRESS, PER_NAME = "30/m", "10/m"


def _limit(request: HttpRequest, *, username: str = "") -> None:
    """Slow guessing down, by address and by name; without Redis nobody is kept out (RATELIMIT_FAIL_OPEN).

    Raises: Throttled.
    """
    is_over = is_ratelimited(request, group="auth", key="ip", rate=PER_ADDRESS, increment=True)
    if username:
        by_name = is_ratelimited(
            request, group="auth.name", key=lambda *_: username.casefold(), rate=PER_NAME, increment=True
        )
        is_over = is_over or by_name
    if is_over:
        raise Throttled(wait=60, detail="Too many tries to sign in; wait a minute, then try again.")


def _body(request: Request) -> Any:
    try:
        return request.data
    except RecursionError as error:
        raise ParseError("The JSON is nested too deeply to be read.") from error


@extend_schema(auth=[], request=SignIn, responses=Tokens, summary="Sign in: tokens for one tenant")
@api_view(["POST"])
@authentication_classes([AtTheDoor])
@permission_classes([AllowAny])
def issue_token(request: Request) -> Response:
    """Trade a username and password for an access and a refresh token of one tenant.

    Raises: AuthenticationFailed, PermissionDenied (no such membership), Throttled, ValidationError (which tenant?).
    """
    given = SignIn(data=_body(request))
    given.is_valid(raise_exception=True)
    _limit(request._request, username=given.validated_data["username"])
    user = authenticate(
        request._request, username=given.validated_data["username"], password=given.validated_data["password"]
    )
    if not isinstance(user, User):
        raise AuthenticationFailed("No active account has this name and password; check both.")
    membership = _choose(user, given.validated_data.get("tenant"))
    token = RefreshToken.for_user(user)
    token["tenant_id"] = membership.tenant_id
    tenant = membership.tenant.shop_domain
    return Response({"access": str(token.access_token), "refresh": str(token), "tenant": tenant})


def _choose(user: User, shop_domain: str | None) -> Membership:
    memberships = list(Membership.objects.filter(user=user).select_related("tenant").order_by("id"))
    if shop_domain is None and len(memberships) > 1:
        names = ", ".join(membership.tenant.shop_domain for membership in memberships)
        raise ValidationError({"tenant": [f"You are a member of several tenants; name one of {names}."]})
    for membership in memberships:
        if shop_domain is None or membership.tenant.shop_domain == shop_domain.strip().lower():
            return membership
    raise PermissionDenied("You are not a member of such a tenant; ask one of its owners to add you.")


@extend_schema(auth=[], request=Refresh, responses=AccessToken, summary="Refresh: an access token for the same tenant")
@api_view(["POST"])
@authentication_classes([AtTheDoor])
@permission_classes([AllowAny])
def refresh_token(request: Request) -> Response:
    """Trade a refresh token for a new access token of the same tenant, while the person is active and a member.

    Raises: AuthenticationFailed, Throttled, ValidationError.
    """
    _limit(request._request)
    given = Refresh(data=_body(request))
    given.is_valid(raise_exception=True)
    try:
        token = RefreshToken(given.validated_data["refresh"])
    except TokenError as error:
        raise AuthenticationFailed("The refresh token has expired or is not one of ours; sign in again.") from error
    user = User.objects.filter(pk=token.get(api_settings.USER_ID_CLAIM), is_active=True).first()
    if user is None or token.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise AuthenticationFailed("The account is closed, or its password was changed since; sign in again.")
    if not Membership.objects.filter(user=user, tenant_id=token.get("tenant_id")).exists():
        raise AuthenticationFailed("You are no longer a member of this tenant; sign in again.")
    return Response({"access": str(token.access_token)})
