"""Shopify's customers and consents (pure): bodies in, frozen snapshots out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from shopsync.identity import normalise_email, normalise_phone
from shopsync.shopify import Delivery, parse, read_time, version, version_of

_STATES = {"subscribed", "unsubscribed", "pending", "not_subscribed"}


class _Consent(msgspec.Struct):
    state: str | None = None
    opt_in_level: str | None = None
    consent_updated_at: str | None = None
    consent_collected_from: str | None = None


class _Address(msgspec.Struct):
    country_code: str | None = None
    phone: str | None = None


class _Customer(msgspec.Struct):
    id: int
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    locale: str | None = None
    updated_at: datetime | None = None
    default_address: _Address | None = None
    sms_marketing_consent: _Consent | None = None
    email_marketing_consent: _Consent | None = None


class _SmsConsent(msgspec.Struct):
    id: int
    sms_marketing_consent: _Consent
    phone: str | None = None


class _EmailConsent(msgspec.Struct):
    customer_id: int
    email_marketing_consent: _Consent
    email_address: str | None = None


class _StatedOnWhatsapp(msgspec.Struct):
    state: str | None = None
    opt_in_level: str | None = None
    updated_at: str | None = None


class _WhatsappConsent(msgspec.Struct):
    customer_id: int
    whats_app_marketing_consent: _StatedOnWhatsapp
    phone_number: str | None = None


@dataclass(frozen=True, slots=True)
class ConsentSnapshot:
    """What a customer agreed to on one channel; `state` is one of subscribed, unsubscribed, pending, not_subscribed."""

    customer_shopify_id: int
    channel: str
    state: str
    address: str
    opt_in_level: str
    stated_at: datetime | None
    version: str


@dataclass(frozen=True, slots=True)
class CustomerSnapshot:
    """One version of a customer. Older API versions carry their consents too."""

    shopify_id: int
    email: str
    phone: str
    first_name: str
    last_name: str
    locale: str
    country: str
    version: str
    consents: tuple[ConsentSnapshot, ...]


def parse_customer(delivery: Delivery, *, country: str) -> CustomerSnapshot:
    """Read customers/create and customers/update; `country` is the tenant's, for phones without prefix.

    Raises: UnreadablePayloadError.
    """
    customer = parse(delivery.body, _Customer)
    address = customer.default_address or _Address()
    own_country = (address.country_code or "").upper()
    own_country = own_country if len(own_country) == 2 else country
    email = normalise_email(customer.email or "")
    phone = _first_phone((customer.phone, address.phone), own_country)
    stated = (("sms", customer.sms_marketing_consent, phone), ("email", customer.email_marketing_consent, email))
    return CustomerSnapshot(
        shopify_id=customer.id,
        email=email,
        phone=phone,
        first_name=(customer.first_name or "")[:200],
        last_name=(customer.last_name or "")[:200],
        locale=(customer.locale or "")[:20],
        country=own_country,
        version=version_of(delivery, customer.updated_at),
        consents=tuple(
            _consent(consent, customer.id, channel=channel, address=where, delivery=delivery)
            for channel, consent, where in stated
            if consent is not None
        ),
    )


def _first_phone(values: tuple[str | None, ...], country: str) -> str:
    found = (normalise_phone(value, country) for value in values if value)
    return next((phone for phone in found if phone), "")


def parse_sms_consent(delivery: Delivery, *, country: str) -> ConsentSnapshot:
    """Read customers_marketing_consent/update.

    Raises: UnreadablePayloadError.
    """
    body = parse(delivery.body, _SmsConsent)
    phone = normalise_phone(body.phone or "", country)
    return _consent(body.sms_marketing_consent, body.id, channel="sms", address=phone, delivery=delivery)


def parse_email_consent(delivery: Delivery) -> ConsentSnapshot:
    """Read customers_email_marketing_consent/update; here the customer's id is called customer_id.

    Raises: UnreadablePayloadError.
    """
    body = parse(delivery.body, _EmailConsent)
    email = normalise_email(body.email_address or "")
    return _consent(body.email_marketing_consent, body.customer_id, channel="email", address=email, delivery=delivery)


def parse_whatsapp_consent(delivery: Delivery, *, country: str) -> ConsentSnapshot:
    """Read customers_whats_app_marketing_consent/update, whose fields have names of their own.

    Raises: UnreadablePayloadError.
    """
    body = parse(delivery.body, _WhatsappConsent)
    said = body.whats_app_marketing_consent
    state = said.state.lower() if said.state else None
    consent = _Consent(state=state, opt_in_level=said.opt_in_level, consent_updated_at=said.updated_at)
    phone = normalise_phone(body.phone_number or "", country)
    return _consent(consent, body.customer_id, channel="whatsapp", address=phone, delivery=delivery)


def _consent(consent: _Consent, customer_id: int, *, channel: str, address: str, delivery: Delivery) -> ConsentSnapshot:
    stated_at = read_time(consent.consent_updated_at or "")
    triggered = delivery.triggered_at or delivery.received_at
    if stated_at is None and consent.state in {None, "not_subscribed"}:
        moment = datetime(1970, 1, 1, tzinfo=UTC)  # a default, not a statement: anything the customer said is newer
    else:
        moment = stated_at or triggered
    return ConsentSnapshot(
        customer_shopify_id=customer_id,
        channel=channel,
        state=consent.state if consent.state in _STATES else "not_subscribed",
        address=address,
        opt_in_level=(consent.opt_in_level or "")[:30],
        stated_at=stated_at,
        version=version(moment, triggered, rank=1, digest=delivery.digest),
    )
