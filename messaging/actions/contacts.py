"""Contacts: found by their identities, created once, their profile's newest version wins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from audit.actions import Event, record
from config.infra import tenancy
from config.infra.transactions import lock_name
from messaging.actions.consent import write_consent
from messaging.identity import OWN_KINDS, Identity, choose_contact, identities_of
from messaging.models import Contact, ContactIdentity
from messaging.shopify import (
    ConsentSnapshot,
    parse_customer,
    parse_email_consent,
    parse_sms_consent,
    parse_whatsapp_consent,
)
from orders.models import Order
from shopsync.models import Tenant
from shopsync.shopify import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a source says of a person; `version` sorts by age, and an empty one yields to any other."""

    customer_shopify_id: int | None
    email: str
    phone: str
    first_name: str = ""
    last_name: str = ""
    country: str = ""
    locale: str = ""
    version: str = ""
    external_id: str = ""
    whatsapp: str = ""


@transaction.atomic(savepoint=False)
def ensure_contact(*, profile: Profile, actor: str) -> Contact | None:
    """Find or create the contact of a profile, add its new identities, and take the profile if it is newer.

    Returns None for a profile without any identity (a guest who left neither e-mail nor phone). Concurrent calls
    that share an identity wait for each other on an advisory lock per identity, taken in order.
    """
    identities = identities_of(
        customer_shopify_id=profile.customer_shopify_id,
        external_id=profile.external_id,
        email=profile.email,
        phone=profile.phone,
        whatsapp=profile.whatsapp,
    )
    if not identities:
        return None
    lock_contacts(shared=True)
    lock_identities(identities)
    owners = _owners(identities)
    contact_id = choose_contact(identities, owners)
    if contact_id is None:
        contact = Contact()
        _take_profile(contact, profile)
        contact.save()
        record(name="contact.created", subject=f"contact:{contact.pk}", actor=actor)
    else:
        contact = Contact.objects.select_for_update().get(pk=contact_id)
        if _take_profile(contact, profile):
            contact.save()
    ContactIdentity.objects.bulk_create(
        [
            ContactIdentity(tenant_id=contact.tenant_id, contact=contact, kind=identity.kind, value=identity.value)
            for identity in identities
            if identity not in owners
        ],
        ignore_conflicts=True,
    )
    return contact


def lock_contacts(*, shared: bool) -> None:
    """Keep imports of the tenant and whoever finds or makes single contacts apart, until the transaction ends.

    A batch of an import takes thousands of identities at once: it excludes the others instead of naming each.
    """
    lock_name(f"contacts:{tenancy.current_tenant_id()}", shared=shared)


def lock_identities(identities: Iterable[Identity]) -> None:
    """Wait for whoever else finds or makes contacts by these identities; held until the transaction ends."""
    keys = sorted(f"{tenancy.current_tenant_id()}:{identity.kind}:{identity.value}" for identity in identities)
    for key in keys:
        lock_name(f"contact:{key}")


def _owners(identities: tuple[Identity, ...]) -> dict[Identity, int]:
    """Say whose each identity is. A contact that is another customer of the shop's, or has another external id, is
    nobody's owner here: they share an address or a phone, they are not one person."""
    values = [identity.value for identity in identities]
    rows = ContactIdentity.objects.filter(value__in=values).values_list("kind", "value", "contact_id")
    owners = {Identity(kind, value): owner for kind, value, owner in rows}
    owners = {identity: owners[identity] for identity in identities if identity in owners}
    for own in identities:
        if own.kind in OWN_KINDS and own not in owners:
            others = ContactIdentity.objects.filter(kind=own.kind, contact_id__in=owners.values())
            taken = set(others.values_list("contact_id", flat=True))
            owners = {identity: owner for identity, owner in owners.items() if owner not in taken}
    return owners


def _take_profile(contact: Contact, profile: Profile) -> bool:
    """Take each field's value from the newest profile that has one. Says whether anything changed.

    Versions are compared field by field, so that any order of arrival ends the same; equal versions are settled by
    value.
    """
    changed = False
    for field in ("first_name", "last_name", "email", "phone", "country", "locale"):
        value = getattr(profile, field)
        known = (contact.field_versions.get(field, ""), getattr(contact, field))
        if value and (profile.version, value) > known:
            setattr(contact, field, value)
            contact.field_versions[field] = profile.version
            changed = True
    if changed:
        contact.updated_at = timezone.now()
    return changed


@transaction.atomic(savepoint=False)
def sync_customer(*, delivery: Delivery) -> None:
    """Take a version of a Shopify customer, and the consents that older API versions carry in it.

    Raises: UnreadablePayloadError.
    """
    tenant = Tenant.objects.get(pk=delivery.tenant_id)
    snapshot = parse_customer(delivery, country=tenant.country)
    profile = Profile(
        customer_shopify_id=snapshot.shopify_id,
        email=snapshot.email,
        phone=snapshot.phone,
        first_name=snapshot.first_name,
        last_name=snapshot.last_name,
        country=snapshot.country,
        locale=snapshot.locale,
        version=snapshot.version,
    )
    contact = ensure_contact(profile=profile, actor="shopify")
    assert contact is not None  # a customer always has an id
    for consent in snapshot.consents:
        write_consent(contact=contact, snapshot=consent)


def profile_of(order: Order) -> Profile:
    """Read the buyer's profile off an order: newer orders win over older ones, the customer's own versions over all."""
    return Profile(
        customer_shopify_id=order.customer_shopify_id,
        email=order.email,
        phone=order.phone,
        first_name=order.customer_first_name,
        last_name=order.customer_last_name,
        country=order.country,
        locale=order.customer_locale,
        version=f"0|{order.source_version}",
    )


def follow_order(*, event: Event) -> None:
    """Make sure that the buyer of an order is a contact, a customer, with what the order's newest version says.

    A subscriber of the order's events. A test order makes nobody a customer.
    """
    order = Order.objects.get(pk=int(event.subject.partition(":")[2]))
    contact = ensure_contact(profile=profile_of(order), actor="shopify")
    if contact is not None and not order.is_test:
        Contact.objects.filter(pk=contact.pk).exclude(lifecycle=Contact.Lifecycle.CUSTOMER).update(
            lifecycle=Contact.Lifecycle.CUSTOMER
        )


def sync_sms_consent(*, delivery: Delivery) -> None:
    """Take customers_marketing_consent/update; it may come before its customer.

    Raises: UnreadablePayloadError.
    """
    tenant = Tenant.objects.get(pk=delivery.tenant_id)
    _sync_consent(parse_sms_consent(delivery, country=tenant.country))


def sync_email_consent(*, delivery: Delivery) -> None:
    """Take customers_email_marketing_consent/update; it may come before its customer.

    Raises: UnreadablePayloadError.
    """
    _sync_consent(parse_email_consent(delivery))


def sync_whatsapp_consent(*, delivery: Delivery) -> None:
    """Take customers_whats_app_marketing_consent/update; it may come before its customer.

    Raises: UnreadablePayloadError.
    """
    tenant = Tenant.objects.get(pk=delivery.tenant_id)
    _sync_consent(parse_whatsapp_consent(delivery, country=tenant.country))


@transaction.atomic(savepoint=False)
def _sync_consent(snapshot: ConsentSnapshot) -> None:
    where = {"sms": "phone", "email": "email", "whatsapp": "whatsapp"}[snapshot.channel]
    values = {"email": "", "phone": "", where: snapshot.address}
    profile = Profile(customer_shopify_id=snapshot.customer_shopify_id, **values)
    contact = ensure_contact(profile=profile, actor="shopify")
    assert contact is not None  # a customer always has an id
    write_consent(contact=contact, snapshot=snapshot)
