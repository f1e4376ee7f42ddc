"""Which location serves what (pure).

The rule: locations are tried nearest first. Near means, in this order: the distance to the destination where both have
coordinates; the destination's country; the location's priority, smaller first; its id. The first location that can
serve the whole basket serves it. If none can and splitting is allowed, each line is served by the nearest location
that has all of it, else it is spread over locations, nearest first. Variants of one item share its units: what one
takes the next one is not offered. All lines or none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

EARTH_RADIUS_KM = 6371.0
# ISO 3166-1 alpha-2: https://www.iso.org/iso-3166-country-codes.html
_CODES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC
CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD
GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH
KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW
MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC
SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY
UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
"""
COUNTRIES = tuple(_CODES.split())
_FAR = math.inf


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the goods go: an ISO 3166-1 country, and degrees if they are known."""

    country: str = ""
    latitude: float | None = None
    longitude: float | None = None


def find_faults(*, country: str, latitude: float | None, longitude: float | None) -> dict[str, str]:
    """Say of each field of a place what is wrong with it; empty where nothing is."""
    faults = {}
    if country and country not in COUNTRIES:
        faults["country"] = "Give an ISO 3166-1 country in two capital letters, e.g. CA or GB."
    for name, degrees, most in (("latitude", latitude, 90), ("longitude", longitude, 180)):
        if degrees is not None and not -most <= degrees <= most:  # so refused, too, is what is not a number
            faults[name] = f"Give degrees from -{most} to {most}."
    if (latitude is None) != (longitude is None):
        missing = "latitude" if latitude is None else "longitude"
        faults.setdefault(missing, "Give both coordinates, or neither.")
    return faults


@dataclass(frozen=True, slots=True)
class Offer:
    """What one level can promise: `sellable` is null where it is not limited (untracked, or policy continue)."""

    level_id: int
    variant_id: int
    location_id: int
    sellable: int | None
    country: str = ""
    latitude: float | None = None
    longitude: float | None = None
    priority: int = 100


@dataclass(frozen=True, slots=True)
class Pick:
    """Units of a variant taken from a level."""

    variant_id: int
    level_id: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """What could not be promised of one variant: `available` is the most that could have been."""

    variant_id: int
    requested: int
    available: int

    @property
    def short(self) -> int:
        """How many units are missing."""
        return self.requested - self.available


def nearness(offer: Offer, destination: Destination) -> tuple[float, bool, int, int]:
    """Return a key that sorts locations nearest first."""
    known = None not in (offer.latitude, offer.longitude, destination.latitude, destination.longitude)
    distance = _distance_km(offer, destination) if known else _FAR
    is_abroad = bool(destination.country) and offer.country != destination.country
    return distance, is_abroad, offer.priority, offer.location_id


def _distance_km(offer: Offer, destination: Destination) -> float:
    """Measure along the great circle (the haversine formula)."""
    degrees = (offer.latitude, offer.longitude, destination.latitude, destination.longitude)
    lat_1, lon_1, lat_2, lon_2 = (math.radians(value) for value in degrees if value is not None)
    chord = math.sin((lat_2 - lat_1) / 2) ** 2 + math.cos(lat_1) * math.cos(lat_2) * math.sin((lon_2 - lon_1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(chord)))


def allocate(
    wanted: Mapping[int, int],
    offers: Sequence[Offer],
    *,
    destination: Destination = Destination(),
    allow_split: bool = True,
) -> list[Pick] | list[Shortage]:
    """Choose levels for each variant's units, by the module's rule; the shortages, by variant, when not all fit.

    wanted: units by variant id, each above zero.
    """
    ordered = sorted(offers, key=lambda offer: nearness(offer, destination))
    by_location: dict[int, dict[int, Offer]] = {}
    for offer in ordered:
        by_location.setdefault(offer.location_id, {})[offer.variant_id] = offer
    for there in by_location.values():
        if _serve(wanted, there) == wanted:
            return [Pick(variant, there[variant].level_id, quantity) for variant, quantity in wanted.items()]
    if not allow_split:
        return _shortages_unsplit(wanted, by_location)
    return _spread(wanted, ordered)


def _serve(wanted: Mapping[int, int], there: Mapping[int, Offer]) -> dict[int, int]:
    """Say how many units of each variant one location can serve."""
    served: dict[int, int] = {}
    taken: Counter[int] = Counter()
    for variant, quantity in wanted.items():
        offer = there.get(variant)
        served[variant] = 0 if offer is None else sum(pick.quantity for pick in take(quantity, _left([offer], taken)))
        if offer is not None and offer.sellable is not None:  # what may be oversold takes nothing from the others
            taken[offer.level_id] += served[variant]
    return served


def _left(offers: Iterable[Offer], taken: Mapping[int, int]) -> list[Offer]:
    """Lower offers by the units that are taken from their levels."""
    return [
        offer
        if offer.sellable is None or not taken.get(offer.level_id)
        else replace(offer, sellable=offer.sellable - taken[offer.level_id])
        for offer in offers
    ]


def _spread(wanted: Mapping[int, int], ordered: Sequence[Offer]) -> list[Pick] | list[Shortage]:
    picks: list[Pick] = []
    shortages: list[Shortage] = []
    taken: Counter[int] = Counter()
    for variant, quantity in wanted.items():
        offers = _left((offer for offer in ordered if offer.variant_id == variant), taken)
        whole = next((offer for offer in offers if offer.sellable is None or offer.sellable >= quantity), None)
        found = take(quantity, offers if whole is None else [whole])
        picks += found
        limited = {offer.level_id for offer in offers if offer.sellable is not None}
        taken.update({pick.level_id: pick.quantity for pick in found if pick.level_id in limited})
        got = sum(pick.quantity for pick in found)
        if got < quantity:
            shortages.append(Shortage(variant, quantity, got))
    return shortages or picks


def take(quantity: int, ordered: Sequence[Offer]) -> list[Pick]:
    """Take up to `quantity` units of one variant from its offers, in their order; fewer when there are fewer."""
    picks = []
    for offer in ordered:
        part = quantity if offer.sellable is None else min(quantity, max(offer.sellable, 0))
        if part > 0:
            picks.append(Pick(offer.variant_id, offer.level_id, part))
            quantity -= part
    return picks


def _shortages_unsplit(wanted: Mapping[int, int], by_location: Mapping[int, Mapping[int, Offer]]) -> list[Shortage]:
    """Compare with the location that misses the fewest units; the nearest of those."""
    served = [_serve(wanted, there) for there in by_location.values()] or [dict.fromkeys(wanted, 0)]
    best = max(served, key=lambda amounts: sum(amounts.values()))
    short = [Shortage(variant, quantity, best[variant]) for variant, quantity in wanted.items()]
    return [shortage for shortage in short if shortage.short > 0]
