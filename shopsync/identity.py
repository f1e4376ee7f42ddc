"""E-mail addresses and phone numbers in one written form (pure), so that equal people compare equal."""

from __future__ import annotations

import unicodedata

import phonenumbers


def normalise_email(value: str) -> str:
    """Return an address in lower case without surrounding space; empty when it can't be one.

    The part before the @ is case-folded too: no mailbox provider in use tells apart by case.
    """
    address = unicodedata.normalize("NFC", value).strip().lower()
    local, _, domain = address.rpartition("@")
    is_plausible = bool(local) and "." in domain and not any(c.isspace() or ord(c) < 32 for c in address)
    return address if is_plausible and len(address) <= 320 else ""


def normalise_phone(value: str, country: str) -> str:
    """Return a number as E.164 (+ and at most 15 digits); empty when it is no possible number.

    country: ISO 3166-1 of the shop or the address, for numbers written without their prefix.
    """
    try:
        number = phonenumbers.parse(value, country or None)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_possible_number(number):
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
