"""What a message may be from (pure): the forms that networks and mailboxes take."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import parseaddr
from functools import lru_cache
from urllib.parse import urlsplit

import pycountry

from inventory.rules import COUNTRIES
from shopsync.identity import normalise_email, normalise_phone

SERVICES = {"sms": "mitto", "email": "email"}  # which service carries a channel

# A name has 3 to 11 characters, a short number 3 to 14 digits: what Mitto documents, and networks in general take.
_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 ._&'+-]{3,11}")
PLACES = tuple(sorted((*COUNTRIES, "XK")))  # as phone numbers are told apart: Kosovo's are, and ISO has no code for it
_NAMED = 60  # states that a refusal names
_DIGITS = re.compile(r"[0-9]{3,14}")


def wrong_with_sender(channel: str, value: str) -> str:
    """Say in a sentence why nothing can be sent from this; empty when it can."""
    if channel == "email":
        name, address = parseaddr(value)
        fits = normalise_email(address) != "" and value in {address, f"{name} <{address}>"}
        return "" if fits else "Give an e-mail address, e.g. hello@shop.example or Shop <hello@shop.example>."
    if value.startswith("+") and normalise_phone(value, "") == value:
        return ""
    if channel == "sms" and (_DIGITS.fullmatch(value) or _NAME.fullmatch(value)):
        return ""
    other = ", a short number of 3 to 14 digits, or a name of 3 to 11 letters and digits" if channel == "sms" else ""
    return f"Give a number with its prefix, e.g. +306912345678{other}."


def wrong_with_site(value: str) -> str:
    """Say in a sentence why short links can't begin so; empty when they can."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if fits and value.rstrip("/") == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc:
        return ""
    return "Give a site without a path, e.g. https://go.example.com."


def wrong_with_place(country: str, region: str = "") -> str:
    """Say in a sentence why this is no country, or no state of one; empty when it is, or when both are empty."""
    if country and country not in PLACES:
        return "Give a country that there is, by its ISO 3166-1 code in capital letters, e.g. GR."
    if country and region and region not in _regions_of(country):
        return _no_such_region(country, region)
    return ""


@lru_cache(maxsize=512)
def _regions_of(country: str) -> tuple[str, ...]:
    """List what stands behind the hyphen in the codes that ISO 3166-2 has for a country."""
    found = pycountry.subdivisions.get(country_code=country) or ()  # type: ignore[no-untyped-call]
    return tuple(sorted(one.code.removeprefix(f"{country}-") for one in found))


def _no_such_region(country: str, region: str) -> str:
    known = _regions_of(country)
    if not known:
        return f"ISO 3166-2 has no states of {country}: leave the state empty."
    named = f"one of {', '.join(known)}" if len(known) <= _NAMED else f"e.g. {', '.join(known[:5])}"
    return f"There is no state {region} of {country}: give what stands behind the hyphen in ISO 3166-2, {named}."


def wrong_with_countries(codes: Iterable[str]) -> str:
    """Say in a sentence which of these are no countries that can be written to; empty when all are."""
    strange = sorted(set(codes) - set(PLACES))
    return f"Give ISO 3166-1 codes, e.g. GR; {', '.join(strange)[:200]} is none." if strange else ""
