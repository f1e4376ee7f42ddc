"""Who is who (pure): the identifiers in a snapshot, and which of the contacts they point to is meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# The order is the strength: a customer id is the shop's own word, an address may be shared by a family.
KINDS = ("shopify_customer", "external", "email", "phone", "whatsapp")
OWN_KINDS = ("shopify_customer", "external")  # of which a person has one


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """One identifier: kind is one of KINDS, value is normalised."""

    kind: str
    value: str


def identities_of(
    *, customer_shopify_id: int | None, email: str, phone: str, external_id: str = "", whatsapp: str = ""
) -> tuple[Identity, ...]:
    """List the identifiers there are, strongest first; empty for a guest who left nothing."""
    customer = str(customer_shopify_id) if customer_shopify_id is not None else ""
    values = (customer, external_id, email, phone, whatsapp)
    return tuple(Identity(kind, value) for kind, value in zip(KINDS, values, strict=True) if value)


def choose_contact(identities: Sequence[Identity], owners: Mapping[Identity, int]) -> int | None:
    """Choose the contact that the strongest known identifier belongs to; None when all are new.

    A weaker identifier that belongs to somebody else stays theirs: two people, until somebody merges them. One
    exception: an address never chooses a contact for a customer id that is new while the address's owner may be
    another customer; that is the caller's to exclude from `owners`.
    """
    return next((owners[identity] for identity in identities if identity in owners), None)
