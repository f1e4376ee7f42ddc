"""The demo tenants, their people and their connections: made once, and put right by every later set-up.

Imported after the settings are ready.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction

from config.infra import tenancy
from config.infra.breaker import Breaker
from config.local.deliveries import register_reports
from config.local.environment import ADMIN_USERNAME, SHOP_DOMAINS, LocalKeys, TenantKeys
from config.local.stack import TWINS, LocalStack
from config.local.twins import EasyPostTwin, StripeTwin
from messaging.actions.credits import read_balance, top_up
from messaging.models import Automation, AutomationVersion, Price
from shopsync.actions.tenants import connect_service, create_api_key, create_tenant
from shopsync.models import ApiKey, Connection, Membership, Tenant, User, hash_secret

ACTOR = "local set-up"
THANKS = (
    "Thank you{% if contact.first_name != '' %}, {{ contact.first_name }}{% endif %}! "
    "We have received your payment of {{ order.currency }} {{ order.total }} for {{ order.name }}. {{ tenant.name }}"
)

_CREDITS = Decimal(100_000)
_BREAKERS = {"stripe": "payments", "easypost": "shipping"}


@dataclass(frozen=True)
class DemoTenant:
    """One demo tenant as it stands in the database, and what its sample traffic looks like."""

    tenant_id: int
    shop_domain: str
    name: str
    country: str
    currency: str
    account_id: str  # at every twin; those of Stripe and EasyPost take it as the key
    keys: TenantKeys
    counts_here: bool  # we count its stock, and not Shopify

    @property
    def label(self) -> str:
        """The short name: demo-one."""
        return self.shop_domain.partition(".")[0]


_FACTS = {
    SHOP_DOMAINS[0]: {"name": "Samos Ceramics", "country": "GR", "currency": "EUR", "timezone": "Europe/Athens"},
    SHOP_DOMAINS[1]: {"name": "Hudson Lamps", "country": "US", "currency": "USD", "timezone": "America/New_York"},
    SHOP_DOMAINS[2]: {
        "name": "Aegean Pantry",
        "country": "GR",
        "currency": "EUR",
        "timezone": "Europe/Athens",
        "stock_authority": "shopsync",
    },
}


def set_up_tenants(keys: LocalKeys, stack: LocalStack) -> list[DemoTenant]:
    """Make the demo tenants with their keys, connections and automation, and lead the twins' events to them."""
    demo_tenants = [_set_up_tenant(shop_domain, keys, stack) for shop_domain in SHOP_DOMAINS]
    lead_events(stack, demo_tenants, TWINS)
    return demo_tenants


def lead_events(stack: LocalStack, tenants: Sequence[DemoTenant], started: Iterable[str]) -> None:
    """Tell the twins just started (those of TWINS among the names) where events go: a twin that ends forgets it."""
    doors = f"{stack.base_url}/webhooks"
    for name in TWINS.keys() & set(started):
        url = stack.twin_url(name)
        for demo in tenants:
            keys, account_id = demo.keys, demo.account_id
            if name == "sandbox":
                register_reports(url, account_id=account_id, url=f"{doors}/mitto/dlr/{keys.mitto_token}")
                inbound = f"{doors}/mitto/inbound/{keys.mitto_token}"
                register_reports(url, account_id=account_id, url=inbound, trigger="Inbound")
            elif name == "stripe-sandbox":
                door = f"{doors}/stripe/{keys.stripe_token}"
                StripeTwin(url, account_id).lead_events(url=door, secret=keys.stripe_secret)
            else:
                door = f"{doors}/easypost/{keys.easypost_token}"
                EasyPostTwin(url, account_id).lead_events(url=door, secret=keys.easypost_secret)


@transaction.atomic
def _set_up_tenant(shop_domain: str, keys: LocalKeys, stack: LocalStack) -> DemoTenant:
    facts = _FACTS[shop_domain]
    tenant = Tenant.objects.filter(shop_domain=shop_domain).first()
    if tenant is None:
        tenant = create_tenant(shop_domain=shop_domain, actor=ACTOR, **facts)
    own = keys.tenants[shop_domain]
    account_id = f"sandbox-{shop_domain.partition('.')[0]}"
    with tenancy.tenant_scope(tenant.pk):
        if not ApiKey.objects.filter(secret_hash=hash_secret(own.api_key)).exists():
            create_api_key(name="local", actor=ACTOR, secret=own.api_key)
        _set_up_connections(own, stack, account_id)
        _set_up_automation()
        _set_up_credits()
    return DemoTenant(
        tenant_id=tenant.pk,
        shop_domain=shop_domain,
        name=tenant.name,
        country=facts["country"],
        currency=facts["currency"],
        account_id=account_id,
        keys=own,
        counts_here=facts.get("stock_authority") == Tenant.StockAuthority.SHOPSYNC,
    )


def _set_up_connections(own: TenantKeys, stack: LocalStack, account_id: str) -> None:
    mitto = {"base_url": stack.sandbox_url, "account_id": account_id, "sender": "Shopsync", "api_key": "sandbox"}
    _connect("mitto", token=own.mitto_token, **mitto)
    for service, secret in (("stripe", own.stripe_secret), ("easypost", own.easypost_secret)):
        token = {"stripe": own.stripe_token, "easypost": own.easypost_token}[service]
        url = stack.twin_url(f"{service}-sandbox")
        _connect(service, token=token, base_url=url, account_id=account_id, api_key=account_id, signing_secret=secret)
    _connect("segment", token=own.write_key)
    for connection in Connection.objects.filter(service__in=("stripe", "easypost")).order_by("pk"):
        Breaker(_BREAKERS[connection.service], str(connection.pk)).reset()  # the twins have just been started


def _connect(service: str, **fields: str) -> None:
    changed = Connection.objects.filter(service=service, name="local").update(**fields, is_active=True)
    if not changed:
        connect_service(service=service, actor=ACTOR, name="local", **fields)


def _set_up_credits() -> None:
    """Let a part of an SMS cost something, and let there be credits to pay for it."""
    Price.objects.get_or_create(channel="sms", country="", defaults={"amount": Decimal("0.05")})
    if read_balance().available < _CREDITS / 2:
        top_up(amount=_CREDITS, key=f"local {uuid.uuid4()}", actor=ACTOR, note="local set-up")


def _set_up_automation() -> None:
    automation = Automation.objects.filter(name="thanks").first() or Automation(name="thanks")
    automation.trigger_event = "order.paid"
    automation.save()
    newest = automation.versions.order_by("-number").first()
    if newest is None or newest.template != THANKS:
        AutomationVersion(
            automation=automation, number=newest.number + 1 if newest else 1, channel="sms", template=THANKS
        ).save()


def set_up_people(password: str) -> list[str]:
    """Make the superuser and one owner per demo tenant, all with the kept password; return their names."""
    names = [ADMIN_USERNAME]
    hashed = _set_up_person(ADMIN_USERNAME, password, is_superuser=True)
    for shop_domain in SHOP_DOMAINS:
        name = f"owner-{shop_domain.partition('.')[0]}"
        _set_up_person(name, password, hashed=hashed)
        user, tenant = User.objects.get(username=name), Tenant.objects.get(shop_domain=shop_domain)
        Membership.objects.update_or_create(user=user, tenant=tenant, defaults={"role": Membership.Role.OWNER})
        names.append(name)
    return names


def _set_up_person(name: str, password: str, *, is_superuser: bool = False, hashed: str = "") -> str:
    """Make a person and return the stored hash; a `hashed` of the same password spares hashing it again."""
    user = User.objects.filter(username=name).first() or User(username=name)
    if hashed:
        user.password = hashed
    elif not check_password(password, user.password):
        user.password = make_password(password)
    user.is_staff, user.is_superuser, user.is_active = True, is_superuser, True
    user.save()
    return user.password
