"""What a message costs, and where it may go: the installation's prices, the tenant's countries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

import phonenumbers

from messaging.models import CreditPolicy, Price

NOT_ALLOWED = "country_not_allowed"
NO_PRICE = "no_price"
OVER_CAP = "over_daily_cap"  # a message that costs more than a whole day's cap would wait for good


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of a channel, in credits for one part by country ("" elsewhere), and the countries that are allowed
    (none: all); what a day may cost (None or nothing: see actions/credits.py)."""

    prices: Mapping[str, Decimal]
    countries: frozenset[str]
    daily_cap: Decimal | None = None

    def price(self, country: str, parts: int) -> Decimal | str:
        """Return what so many parts cost to a country; a word for why not when it is not written to."""
        if self.countries and country not in self.countries:
            return NOT_ALLOWED
        if not self.prices:
            return Decimal(0)
        each = self.prices.get(country, self.prices.get(""))
        if each is None:
            return NO_PRICE
        return OVER_CAP if self.daily_cap and each * parts > self.daily_cap else each * parts


def tariff_of(channel: str) -> Tariff:
    """Read the tariff of the tenant in scope."""
    prices = dict(Price.objects.filter(channel=channel).values_list("country", "amount"))
    policy = CreditPolicy.objects.first()
    return Tariff(prices, frozenset(policy.countries) if policy else frozenset(), policy.daily_cap if policy else None)


def allowed_countries() -> frozenset[str]:
    """Read the countries that the tenant in scope writes to; none: all."""
    policy = CreditPolicy.objects.first()
    return frozenset(policy.countries) if policy else frozenset()


def country_of(*, phone: str, known: str) -> str:
    """Say which country an address is in: the phone number's, else the contact's; empty when nobody knows."""
    return (_country_of_phone(phone) if phone.startswith("+") else "") or known


@lru_cache(maxsize=65_536)
def _country_of_phone(phone: str) -> str:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(phone)) or ""
    except phonenumbers.NumberParseException:
        return ""
