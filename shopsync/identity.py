"""E-mail addresses and phone numbers in one written form (pure), so that equal people compare equal."""

from __future__ import annotations

import re

import idna
import phonenumbers

MAX_EMAIL = 320
# A dot-atom (RFC 5322, 3.2.3): no quoted local part, and nothing that parts addresses or puts a name before one.
_LOCAL = re.compile(r"(?=.{1,64}\Z)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z)({_LABEL}\.)+(?![0-9]+\Z){_LABEL}")


def normalise_email(value: str) -> str:
    """Return one bare address in lower case, its domain in ASCII; empty when it is none that can be written to.

    The part before the @ is case-folded too: no mailbox provider in use tells apart by case. It is ASCII: neither
    Postmark nor Mailgun takes another (SMTPUTF8, RFC 6531).
    """
    address = value.strip()
    if len(address) > MAX_EMAIL:
        return ""
    local, _, domain = address.rpartition("@")
    local, domain = local.lower(), ascii_domain(domain)
    return f"{local}@{domain}" if domain and _LOCAL.fullmatch(local) else ""


def ascii_domain(domain: str) -> str:
    """Return a domain of e-mail as its name servers know it: lower case, A-labels (IDNA 2008 with UTS 46's mapping).

    `Müller.de` and `xn--mller-kva.de` are one. Empty for what is no domain: an IP address, one word, a trailing dot.
    """
    plain = domain.lower()
    if not domain.isascii():
        try:
            plain = idna.encode(domain, uts46=True).decode()
        except UnicodeError:  # idna's own errors are of this kind
            return ""
    return plain if _DOMAIN.fullmatch(plain) else ""


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
