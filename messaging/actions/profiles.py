"""Contacts as the merchant's own people and systems write them: made, and changed field by field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from audit.actions import Value, record
from messaging.actions.contacts import lock_contacts, lock_identities
from messaging.identity import Identity
from messaging.imports import MAX_ATTRIBUTES
from messaging.models import Contact, ContactIdentity
from shopsync.actions.refusals import InvalidInput
from shopsync.shopify import version

Kind = ContactIdentity.Kind
KINDS = {
    "shopify_id": Kind.SHOPIFY_CUSTOMER,
    "external_id": Kind.EXTERNAL,
    "email": Kind.EMAIL,
    "phone": Kind.PHONE,
    "whatsapp": Kind.WHATSAPP,
}
PLAIN = ("first_name", "last_name", "email", "phone", "country", "region", "locale", "timezone")


class ProfileError(InvalidInput):
    """What was given of a contact can't be."""


class IdentityTaken(ProfileError):  # noqa: N818
    """An identity belongs to another contact of the tenant."""

    def __init__(self, field: str, contact_id: int) -> None:
        super().__init__(field, f"This {field} belongs to contact {contact_id} already; change that one.")
        self.contact_id = contact_id


@transaction.atomic(savepoint=False)
def create_contact(*, values: Mapping[str, Any], actor: str, now: datetime) -> Contact:
    """Make a contact. `values`: fields of PLAIN and KINDS (normalised), `attributes`, `tags`; empty ones are left out.

    Raises: IdentityTaken, ProfileError without any identity.
    """
    given = {name: value for name, value in values.items() if value}
    if not set(given) & set(KINDS):
        raise ProfileError("email", f"Give at least one of {', '.join(KINDS)}: by nothing else is a contact known.")
    new = _new_identities(given, contact_id=None)
    contact = Contact()
    _take(contact, given, now)
    contact.save()
    _identify(contact, new)
    record(name="contact.created", subject=f"contact:{contact.pk}", actor=actor)
    return contact


@transaction.atomic(savepoint=False)
def change_contact(*, contact_id: int, values: Mapping[str, Any], actor: str, now: datetime) -> Contact:
    """Change what is given of a contact, and add identities; older ones stay, since people still come by them.

    attributes: by name; null takes one away. tags: all of them. A newer version of Shopify's still wins later.

    Raises: Contact.DoesNotExist, IdentityTaken, ProfileError.
    """
    new = _new_identities(values, contact_id=contact_id)
    contact = Contact.objects.select_for_update().get(pk=contact_id)
    _take(contact, values, now)
    contact.save()
    _identify(contact, new)
    data: dict[str, Value] = {"fields": sorted(values)}
    record(name="contact.updated", subject=f"contact:{contact.pk}", actor=actor, data=data)
    return contact


def _new_identities(values: Mapping[str, Any], *, contact_id: int | None) -> dict[Identity, str]:
    """Lock the identities given, and return those that are nobody's yet, with their fields.

    Raises: IdentityTaken.
    """
    given = {Identity(kind.value, str(values[name])): name for name, kind in KINDS.items() if values.get(name)}
    if not given:
        return {}
    lock_contacts(shared=True)
    lock_identities(given)
    rows = ContactIdentity.objects.filter(value__in=[one.value for one in given])
    owners = {Identity(kind, value): owner for kind, value, owner in rows.values_list("kind", "value", "contact_id")}
    for identity, name in given.items():
        if owners.get(identity, contact_id) != contact_id:
            raise IdentityTaken(name, owners[identity])
    return {identity: name for identity, name in given.items() if identity not in owners}


def _identify(contact: Contact, new: Mapping[Identity, str]) -> None:
    ContactIdentity.objects.bulk_create(
        [ContactIdentity(contact=contact, tenant_id=contact.tenant_id, kind=one.kind, value=one.value) for one in new]
    )


def _take(contact: Contact, values: Mapping[str, Any], now: datetime) -> None:
    """Set the fields, each with the version of this moment.

    Raises: ProfileError for more attributes than a contact may have.
    """
    moment = version(now, now, rank=0, digest="")
    for name in PLAIN:
        if name in values:
            setattr(contact, name, values[name])
            contact.field_versions[name] = moment
    merged = {**contact.attributes, **values.get("attributes", {})}
    contact.attributes = {name: value for name, value in merged.items() if value is not None}
    if len(contact.attributes) > MAX_ATTRIBUTES:
        raise ProfileError("attributes", f"A contact has at most {MAX_ATTRIBUTES} attributes; take some away by null.")
    if "tags" in values:
        contact.tags = list(dict.fromkeys(values["tags"]))
    contact.updated_at = now
