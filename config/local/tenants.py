"""The demo tenants, their people and their connections: made once, and put right by every later set-up.

Imported after the settings are ready.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction

from config.infra import tenancy
from config.local.deliveries import register_reports
from config.local.environment import ADMIN_USERNAME, SHOP_DOMAINS, LocalKeys, TenantKeys
from messaging.models import Automation, AutomationVersion
from shopsync.actions.tenants import connect_service, create_api_key, create_tenant
from shopsync.models import ApiKey, Connection, Membership, Tenant, User, hash_secret

ACTOR = "local set-up"
THANKS = (
    "Thank you{% if contact.first_name != '' %}, {{ contact.first_name }}{% endif %}! "
    "We have received your payment of {{ order.currency }} {{ order.total }} for {{ order.name }}. {{ tenant.name }}"
)


@dataclass(frozen=True)
class DemoTenant:
    """One demo tenant as it stands in the database, and what its sample traffic looks like."""

    tenant_id: int
    shop_domain: str
    name: str
    country: str
    currency: str
    account_id: str
    keys: TenantKeys

    @property
    def label(self) -> str:
        """The short name: demo-one."""
        return self.shop_domain.partition(".")[0]


_FACTS = {
    SHOP_DOMAINS[0]: {"name": "Samos Ceramics", "country": "GR", "currency": "EUR", "timezone": "Europe/Athens"},
    SHOP_DOMAINS[1]: {"name": "Hudson Lamps", "country": "US", "currency": "USD", "timezone": "America/New_York"},
}


def set_up_tenants(keys: LocalKeys, *, sandbox_url: str, base_url: str) -> list[DemoTenant]:
    """Make the demo tenants with their keys, connections and automation, and lead the sandbox's reports to them."""
    demo_tenants = [_set_up_tenant(shop_domain, keys, sandbox_url) for shop_domain in SHOP_DOMAINS]
    for demo in demo_tenants:
        url = f"{base_url}/webhooks/mitto/dlr/{demo.keys.mitto_token}"
        register_reports(sandbox_url, account_id=demo.account_id, url=url)
    return demo_tenants


@transaction.atomic
def _set_up_tenant(shop_domain: str, keys: LocalKeys, sandbox_url: str) -> DemoTenant:
    facts = _FACTS[shop_domain]
    tenant = Tenant.objects.filter(shop_domain=shop_domain).first()
    if tenant is None:
        tenant = create_tenant(shop_domain=shop_domain, actor=ACTOR, **facts)
    own = keys.tenants[shop_domain]
    account_id = f"sandbox-{shop_domain.partition('.')[0]}"
    with tenancy.tenant_scope(tenant.pk):
        if not ApiKey.objects.filter(secret_hash=hash_secret(own.api_key)).exists():
            create_api_key(name="local", actor=ACTOR, secret=own.api_key)
        mitto = {"base_url": sandbox_url, "account_id": account_id, "sender": "Shopsync", "api_key": "sandbox"}
        _connect("mitto", token=own.mitto_token, **mitto)
        _connect("segment", token=own.write_key)
        _set_up_automation()
    return DemoTenant(tenant.pk, shop_domain, tenant.name, facts["country"], facts["currency"], account_id, own)


def _connect(service: str, **fields: str) -> None:
    changed = Connection.objects.filter(service=service, name="local").update(**fields, is_active=True)
    if not changed:
        connect_service(service=service, actor=ACTOR, name="local", **fields)


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
