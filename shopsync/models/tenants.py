"""Tenants, the people and keys that may see them, and their accounts with outside services."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, ClassVar, Self

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from config.infra import tenancy
from config.infra.fields import EncryptedTextField
from config.infra.tenancy import TenantManager


class User(AbstractUser):
    """A person who signs in; what they may see is said by their memberships."""


class Tenant(models.Model):
    """One Shopify shop. The root of all tenant data, so itself not scoped."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        PAUSED = "paused"
        UNINSTALLED = "uninstalled"

    class StockAuthority(models.TextChoices):
        SHOPIFY = "shopify", "Shopify counts, we mirror"
        SHOPSYNC = "shopsync", "we count"

    shop_domain = models.CharField(max_length=255, unique=True, help_text="name.myshopify.com, lower case")
    name = models.CharField(max_length=200, blank=True, default="")
    status = models.CharField(max_length=12, choices=Status, default=Status.ACTIVE)
    currency = models.CharField(max_length=3, default="USD", help_text="ISO 4217")
    timezone = models.CharField(max_length=64, default="UTC", help_text="IANA name")
    country = models.CharField(max_length=2, blank=True, default="", help_text="ISO 3166-1, for phones without prefix")
    stock_authority = models.CharField(max_length=8, choices=StockAuthority, default=StockAuthority.SHOPIFY)
    push_holds = models.BooleanField(
        default=False, db_default=False, help_text="set reservations aside in Shopify too, while Shopify counts"
    )
    access_token = EncryptedTextField(blank=True, default="")
    refresh_token = EncryptedTextField(blank=True, default="")
    installed_at = models.DateTimeField(db_default=Now())
    uninstalled_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("shop_domain",)
        constraints = (
            models.CheckConstraint(
                name="tenant_shop_domain_is_lower_case", condition=Q(shop_domain=models.functions.Lower("shop_domain"))
            ),
            models.CheckConstraint(name="tenant_currency_is_iso_4217", condition=Q(currency__regex=r"^[A-Z]{3}$")),
            models.CheckConstraint(
                name="tenant_stock_authority_is_known", condition=Q(stock_authority__in=("shopify", "shopsync"))
            ),
        )

    def __str__(self) -> str:
        return self.shop_domain


class TenantModel(models.Model):
    """Tenant data: a foreign key to the tenant and a manager that fails closed.

    A child's Meta must inherit TenantModel.Meta, or it silently loses base_manager_name (tests/test_architecture.py).
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    tenant_id: Any

    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save within the tenant in scope.

        Raises: CrossTenantWriteError, NoTenantInScopeError.
        """
        tenancy.claim_for_scope(self)
        super().save(*args, **kwargs)


class Membership(models.Model):
    """What a person may do in one tenant. Read across tenants at sign-in, so itself not scoped."""

    class Role(models.TextChoices):
        OWNER = "owner"
        OPERATOR = "operator"
        VIEWER = "viewer"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role, default=Role.VIEWER)

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "user",
                    "tenant",
                ),
                name="membership_is_one_per_user_and_tenant",
            ),
            models.CheckConstraint(
                name="membership_role_is_known", condition=Q(role__in=("owner", "operator", "viewer"))
            ),
        )

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.tenant}"


def hash_secret(secret: str) -> str:
    """Hash a random secret of ours for look-up: it has 256 bits, so a plain SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiKey(TenantModel):
    """A merchant's system's key: shown once, stored as a hash; it reads one tenant, and acknowledges alerts."""

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, help_text="the first characters, to recognise it by")
    secret_hash = models.CharField(max_length=64, unique=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.prefix}…"


def new_token() -> str:
    """Make an outward token: random, URL-safe, 256 bits."""
    return secrets.token_urlsafe(32)


class Connection(TenantModel):
    """A tenant's account with an outside service; `token` is the last part of the address its call-backs use."""

    service = models.CharField(max_length=20, help_text="mitto, email; segment for a write key")
    name = models.CharField(max_length=100, blank=True, default="")
    token = models.CharField(max_length=64, unique=True, default=new_token)
    base_url = models.URLField(max_length=300, blank=True, default="", help_text="where its API is; the sandbox's here")
    account_id = models.CharField(max_length=100, blank=True, default="")
    sender = models.CharField(max_length=320, blank=True, default="", help_text="who messages come from")
    postal_address = models.TextField(
        blank=True, default="", db_default="", max_length=500, help_text="the sender's, in the footer of e-mails"
    )
    api_key = EncryptedTextField(blank=True, default="")
    signing_secret = EncryptedTextField(blank=True, default="")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta(TenantModel.Meta):
        ordering = ("service", "id")
        constraints = (
            models.UniqueConstraint(
                fields=(
                    "tenant",
                    "service",
                    "name",
                ),
                name="connection_has_its_own_name",
            ),
        )

    def __str__(self) -> str:
        return f"{self.service} {self.name}".strip()
