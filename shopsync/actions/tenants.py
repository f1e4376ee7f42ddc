"""Tenants, their keys and connections, and what happens when the app is removed."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from audit.actions import record
from config.infra import tenancy
from shopsync.models import ApiKey, Connection, Tenant, hash_secret, new_token
from shopsync.shopify import Delivery, UnreadablePayloadError, parse


class _Shop(msgspec.Struct):
    """Shopify's shop resource, as app/uninstalled carries it."""

    myshopify_domain: str | None  # Shopify's test notification sends null, no other resource has the key


class InvalidConnection(ValueError):  # noqa: N818  (a state of what was filled in)
    """A connection can't be of use as it is filled in; `wrong` says why, by field."""

    def __init__(self, wrong: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {sentence}" for field, sentence in wrong.items()))
        self.wrong = wrong


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A fresh key; `secret` is shown once and stored nowhere."""

    key: ApiKey
    secret: str


@transaction.atomic
def create_api_key(*, name: str, actor: str, secret: str | None = None) -> NewApiKey:
    """Give the tenant in scope a key for its systems; `secret` is only given by local set-ups that keep theirs."""
    secret = secret or new_token()
    key = ApiKey(name=name, prefix=secret[:8], secret_hash=hash_secret(secret))
    key.save()
    record(name="api_key.created", subject=f"api_key:{key.pk}", actor=actor, data={"name": name})
    return NewApiKey(key=key, secret=secret)


@transaction.atomic
def create_tenant(*, shop_domain: str, name: str, actor: str, **fields: str) -> Tenant:
    """Create a tenant; `fields` are currency, timezone, country, stock_authority."""
    tenant = Tenant(shop_domain=shop_domain.lower(), name=name, **fields)
    tenant.full_clean(exclude=["installed_at", "created_at"])
    tenant.save()
    with tenancy.tenant_scope(tenant.pk):
        record(name="tenant.created", subject=f"tenant:{tenant.pk}", actor=actor)
    return tenant


@transaction.atomic
def connect_service(*, service: str, actor: str, **fields: str) -> Connection:
    """Give the tenant in scope a connection to a service; `fields` are name, base_url, account_id, sender, api_key,
    token.

    Raises: InvalidConnection.
    """
    connection = Connection(service=service, **fields)
    if wrong := wrong_with_connection(connection):
        raise InvalidConnection(wrong)
    connection.save()
    record(name="connection.created", subject=f"connection:{connection.pk}", actor=actor, data={"service": service})
    return connection


def wrong_with_connection(connection: Connection) -> dict[str, str]:
    """Say by field what can't be of use in a connection; empty when it can be kept."""
    services: dict[str, str] = settings.CONNECTION_SERVICES
    path = services.get(connection.service)
    if path is None:
        return {"service": f"No service is called {connection.service!r}; known: {', '.join(sorted(services))}."}
    told: dict[str, str] = import_string(path)(connection) if path else {}
    return told


def note_tenant_opened(*, tenant_id: int, actor: str) -> None:
    """Record that somebody who is no member looks at a tenant's data."""
    with tenancy.tenant_scope(tenant_id):
        record(name="tenant.opened", subject=f"tenant:{tenant_id}", actor=actor)


def note_all_tenants_opened(*, actor: str) -> None:
    """Record that somebody looks at every tenant's data at once: an event of the system's."""
    with tenancy.no_scope():
        record(name="all_tenants.opened", subject="tenants", actor=actor)


def uninstall(*, delivery: Delivery) -> None:
    """Mark the tenant as uninstalled and drop its tokens, which Shopify has already revoked.

    A late delivery from before the latest installation changes nothing, nor does one that names no shop. The topic
    is an unsigned header: the body must name this very shop, or anybody's order could uninstall it.

    Raises: UnreadablePayloadError when the body belongs to another shop, or to none.
    """
    tenant = Tenant.objects.select_for_update().get(pk=delivery.tenant_id)
    shop = parse(delivery.body, _Shop)
    if (shop.myshopify_domain or tenant.shop_domain).lower() != tenant.shop_domain:
        raise UnreadablePayloadError(f"the body is of {shop.myshopify_domain}, not of {tenant.shop_domain}")
    if shop.myshopify_domain is None:  # a test notification: one body for every shop, so no proof of anything
        record(name="tenant.uninstall_unproved", subject=f"tenant:{tenant.pk}", actor="shopify")
        return
    happened_at = delivery.triggered_at or delivery.received_at
    if happened_at < tenant.installed_at or tenant.status == Tenant.Status.UNINSTALLED:
        return  # stale, or a repetition: the outcome is already there
    tenant.status = Tenant.Status.UNINSTALLED
    tenant.uninstalled_at = happened_at
    tenant.access_token = tenant.refresh_token = ""
    tenant.save(update_fields=["status", "uninstalled_at", "access_token", "refresh_token"])
    record(name="tenant.uninstalled", subject=f"tenant:{tenant.pk}", actor="shopify")
