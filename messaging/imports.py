"""Imports of contacts (pure): what a column is, what a row says, and whose each row is.

A column is taken as one of TARGETS, as `attributes.NAME`, or left out (an empty text).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from messaging.identity import KINDS, OWN_KINDS, Identity, choose_contact
from messaging.senders import PLACES
from messaging.tables import Row, TableError, unguard
from shopsync.identity import normalise_email, normalise_phone

CHANNELS = ("sms", "email", "whatsapp")
IDENTITIES = ("shopify_id", "external_id", "email", "phone", "whatsapp")  # in the order of KINDS
TEXTS = {"first_name": 200, "last_name": 200, "region": 10, "locale": 20}
TARGETS = (*IDENTITIES, *TEXTS, "country", "timezone", "tags", "consent_at", *(f"consent.{one}" for one in CHANNELS))
ATTRIBUTE = "attributes."
MAX_ATTRIBUTES, MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE = 100, 64, 500
MAX_ATTRIBUTE_COLUMNS = 1000  # of one file; a row, as a contact, has MAX_ATTRIBUTES
MAX_TAGS, MAX_TAG = 100, 64

_HEADERS = {
    "email": "email emailaddress mail",
    "phone": "phone phonenumber mobile mobilephone mobilenumber cell cellphone telephone tel defaultaddressphone",
    "whatsapp": "whatsapp whatsappnumber",
    "shopify_id": "shopifyid customerid shopifycustomerid",
    "external_id": "externalid userid",
    "first_name": "firstname givenname forename",
    "last_name": "lastname surname familyname",
    "country": "country countrycode defaultaddresscountrycode",
    "region": "region province provincecode state defaultaddressprovincecode",
    "locale": "locale language",
    "timezone": "timezone tz",
    "tags": "tags tag labels",
    "consent_at": "consentat consentdate optindate optintime",
    "consent.sms": "consentsms smsconsent acceptssms acceptssmsmarketing smsoptin",
    "consent.email": "consentemail emailconsent acceptsmarketing acceptsemailmarketing emailoptin",
    "consent.whatsapp": "consentwhatsapp whatsappconsent acceptswhatsapp acceptswhatsappmarketing whatsappoptin",
}
_GUESSES = {word: target for target, words in _HEADERS.items() for word in words.split()}
_STATES = {
    **dict.fromkeys(("yes", "y", "true", "1", "subscribed", "opted in", "opted_in"), "subscribed"),
    **dict.fromkeys(("unsubscribed", "opted out", "opted_out", "stop"), "unsubscribed"),
    **dict.fromkeys(("no", "n", "false", "0", "not_subscribed", "not subscribed"), "not_subscribed"),
}
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")
_FLOAT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,25})?(e-[0-9]{2,3})?")
# PostgreSQL's jsonb takes neither NUL nor half of a surrogate pair, which a text in quotes may spell as \uXXXX.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def guess_columns(header: Sequence[str], given: Mapping[str, str]) -> list[str]:
    """Say what each column is taken as: as given by its name, else by what it is called; empty: left out.

    Raises: TableError for a name the file has not, an unknown target, one target twice, or no identity among them.
    """
    if strange := sorted(set(given) - set(header)):
        raise TableError(f"mapping: the file has no column {strange[0]!r}; there are {', '.join(header)[:500]}")
    columns = [given[name] if name in given else _guess(name) for name in header]
    for number, target in enumerate(columns):
        if target not in {"", *TARGETS} and not _is_attribute(target):
            raise TableError(f"mapping: {target!r} is nothing to take a column as; there are {_targets()}")
        if target and target in columns[:number]:
            first = header[columns.index(target)]
            raise TableError(f"mapping: {first!r} and {header[number]!r} would both be {target}; leave one out by ''")
    if sum(map(_is_attribute, columns)) > MAX_ATTRIBUTE_COLUMNS:
        raise TableError(f"mapping: more than {MAX_ATTRIBUTE_COLUMNS} columns are attributes; leave some out by ''")
    if not set(columns) & set(IDENTITIES):
        raise TableError(f"mapping: no column says who a row is; map one to {', '.join(IDENTITIES)}")
    return columns


def _guess(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]", "", re.sub(r" \([0-9]+\)$", "", name).casefold())
    if name.startswith(ATTRIBUTE) and _is_attribute(name):
        return name
    return _GUESSES.get(plain, "")


def _is_attribute(target: str) -> bool:
    name = target.removeprefix(ATTRIBUTE)
    return target.startswith(ATTRIBUTE) and name.isprintable() and 0 < len(name) <= MAX_ATTRIBUTE_NAME


def _targets() -> str:
    return ", ".join((*TARGETS, f"{ATTRIBUTE}NAME"))


def read_attribute(cell: str) -> str | int | float | bool:
    """Read the value of an attribute: true, false, a number in its plain form or as it is exported (0.1 + 0.2, 1e-07),
    else a text (in quotes if need be)."""
    if cell in {"true", "false"}:
        return cell == "true"
    if _NUMBER.fullmatch(cell):
        return float(cell) if "." in cell else int(cell)
    if _FLOAT.fullmatch(cell) and repr(float(cell)) == cell:
        return float(cell)
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        try:
            return str(json.loads(cell))
        except ValueError:
            return cell
    return cell


def write_attribute(value: str | float | bool) -> str:
    """Write an attribute so that `read_attribute` reads the same: a text that looks like something else in quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    is_itself = (
        value and value == value.strip() and read_attribute(value) == value and type(read_attribute(value)) is str
    )
    return value if is_itself else json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=2048)
def is_timezone(name: str) -> bool:
    """Is this the IANA name of a time zone?"""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return bool(name)


@dataclass(slots=True)
class Clean:
    """What a row says, ready to be stored; `notes` are what could not be taken, `is_refused` when that was all."""

    values: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    consents: dict[str, str] = field(default_factory=dict)
    consent_at: datetime | None = None
    notes: list[str] = field(default_factory=list)
    is_refused: bool = False


class RowReader:
    """Reads rows of one file: `columns` as guess_columns() says, `country` for phones of rows without one.

    `channels` are those for which consent is imported: by a column, or where there is none, of everybody.
    """

    def __init__(
        self,
        *,
        columns: Sequence[str],
        country: str,
        channels: Sequence[str],
        consent_at: datetime | None,
        now: datetime,
    ) -> None:
        self._columns = list(columns)
        self._country, self._consent_at, self._now = country, consent_at, now
        self._everybody = [channel for channel in channels if f"consent.{channel}" not in columns]
        # The country first: the phones of its row are read by it.
        order = sorted(range(len(columns)), key=lambda number: columns[number] != "country")
        self._places = [(number, columns[number]) for number in order if columns[number]]
        self._readers: dict[str, Callable[[Clean, str], None]] = {
            "country": self._country_of,
            "timezone": self._timezone,
            "tags": self._tags,
            "consent_at": self._moment,
        }

    def read(self, row: Row) -> Clean:
        """Read a row; one without any identity is refused."""
        clean = Clean(consent_at=self._consent_at)
        if row.problem or len(row.cells) != len(self._columns):
            counted = f"it has {len(row.cells)} cells where there are {len(self._columns)} columns"
            return Clean(notes=[row.problem or counted], is_refused=True)
        for number, target in self._places:
            cell = unguard(row.cells[number]).strip()
            if cell:
                self._take(clean, target, cell)
        clean.consents |= {one: "subscribed" for one in self._everybody if _has_address(clean, one)}
        self._check_consent(clean)
        if not any(clean.values.get(name) for name in IDENTITIES):
            return Clean(notes=[*clean.notes, f"nothing says who it is: {', '.join(IDENTITIES)}"], is_refused=True)
        return clean

    def _take(self, clean: Clean, target: str, cell: str) -> None:
        if target in self._readers:
            self._readers[target](clean, cell)
        elif target in TEXTS:
            clean.values[target] = cell[: TEXTS[target]]
            if len(cell) > TEXTS[target]:
                clean.notes.append(f"{target} was cut to {TEXTS[target]} characters")
        elif target in IDENTITIES:
            self._identity(clean, target, cell)
        elif target.startswith(ATTRIBUTE):
            self._attribute(clean, target, read_attribute(cell))
        else:
            self._consent(clean, target.removeprefix("consent."), cell)

    def _attribute(self, clean: Clean, target: str, value: str | float | bool) -> None:
        if isinstance(value, str) and len(value) > MAX_ATTRIBUTE:
            clean.notes.append(f"{target} is over {MAX_ATTRIBUTE} characters long")
        elif isinstance(value, str) and _UNSTORABLE.search(value):
            clean.notes.append(f"{target} holds a NUL character, or half of a surrogate pair")
        elif len(clean.attributes) >= MAX_ATTRIBUTES:
            clean.notes.append(f"{target} was not taken: a row has {MAX_ATTRIBUTES} attributes at most")
        else:
            clean.attributes[target.removeprefix(ATTRIBUTE)] = value

    def _identity(self, clean: Clean, target: str, cell: str) -> None:
        if target == "email":
            value = normalise_email(cell)
        elif target in {"phone", "whatsapp"}:
            value = normalise_phone(cell, clean.values.get("country", "") or self._country)
        elif target == "shopify_id":
            digits = cell.lstrip("'").rpartition("/")[2]  # spreadsheets, and Shopify's own gid://shopify/Customer/1
            value = digits if digits.isascii() and digits.isdigit() and len(digits) <= 18 else ""
        else:
            value = cell if len(cell) <= 320 else ""
        if value:
            clean.values[target] = value
        else:
            clean.notes.append(f"{cell[:80]!r} is no {target}")

    def _country_of(self, clean: Clean, cell: str) -> None:
        if cell.upper() in PLACES:
            clean.values["country"] = cell.upper()
        else:
            clean.notes.append(f"{cell[:80]!r} is no country in two letters (ISO 3166-1)")

    def _timezone(self, clean: Clean, cell: str) -> None:
        if is_timezone(cell):
            clean.values["timezone"] = cell
        else:
            clean.notes.append(f"{cell[:80]!r} is no time zone, e.g. Europe/Athens")

    def _tags(self, clean: Clean, cell: str) -> None:
        tags = list(dict.fromkeys(tag for tag in (part.strip() for part in cell.split(",")) if tag))
        clean.tags = [tag for tag in tags if len(tag) <= MAX_TAG][:MAX_TAGS]
        if len(clean.tags) < len(tags):
            clean.notes.append(f"of its tags only those of {MAX_TAG} characters, and {MAX_TAGS} of them, were taken")

    def _moment(self, clean: Clean, cell: str) -> None:
        try:
            moment = datetime.fromisoformat(cell)
            clean.consent_at = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            clean.consent_at = None
            clean.notes.append(f"{cell[:80]!r} is no date of consent, e.g. 2026-11-28")

    def _consent(self, clean: Clean, channel: str, cell: str) -> None:
        state = _STATES.get(cell.casefold())
        if state:
            clean.consents[channel] = state
        else:
            clean.notes.append(f"{cell[:80]!r} is no consent: yes, no or unsubscribed")

    def _check_consent(self, clean: Clean) -> None:
        """Keep no consent without a date that is past, or without an address to write to."""
        if clean.consents and (clean.consent_at is None or not datetime(1970, 1, 2, tzinfo=UTC) < clean.consent_at):
            clean.notes.append("its consent was not taken: it has no date")
            clean.consents = {}
        elif clean.consents and clean.consent_at and clean.consent_at > self._now:
            clean.notes.append("its consent was not taken: its date is to come")
            clean.consents = {}
        for channel in sorted(clean.consents):
            if not _has_address(clean, channel):
                clean.notes.append(f"its consent for {channel} was not taken: it has no address there")
                del clean.consents[channel]


def _has_address(clean: Clean, channel: str) -> bool:
    names = {"email": ("email",), "sms": ("phone",), "whatsapp": ("whatsapp", "phone")}[channel]
    return any(clean.values.get(name) for name in names)


# Whose each row is


@dataclass(frozen=True, slots=True)
class Placed:
    """What becomes of a row: `contact` is an id, or minus the number of a new one; `foreign` are kinds of others'."""

    number: int
    contact: int
    action: str
    foreign: tuple[str, ...]


def identities_of_row(values: Sequence[str]) -> tuple[Identity, ...]:
    """List a row's identifiers, strongest first; `values` are in the order of KINDS."""
    return tuple(Identity(kind, value) for kind, value in zip(KINDS, values, strict=True) if value)


def place_rows(
    rows: Iterable[tuple[int, Sequence[str]]],
    *,
    owners: dict[Identity, int],
    own_kinds: dict[int, set[str]],
    skip_known: bool,
) -> list[Placed]:
    """Decide whose each row is, one after the other: a person who is new in one row is known in the next.

    owners: whose each identity is already; own_kinds: which of OWN_KINDS those contacts have. Both are added to.
    """
    placed: list[Placed] = []
    made = 0
    for number, values in rows:
        identities = identities_of_row(values)
        contact = choose_contact(identities, _possible(identities, owners, own_kinds))
        action = "create" if contact is None else "skip" if skip_known else "merge"
        if contact is None:
            made += 1
            contact = -made
        foreign = tuple(one.kind for one in identities if owners.get(one, contact) != contact)
        if action != "skip":
            for one in identities:
                owners.setdefault(one, contact)
                if one.kind in OWN_KINDS:
                    own_kinds.setdefault(contact, set()).add(one.kind)
        placed.append(Placed(number, contact, action, foreign))
    return placed


def _possible(
    identities: Sequence[Identity], owners: Mapping[Identity, int], own_kinds: Mapping[int, set[str]]
) -> dict[Identity, int]:
    """Say who may be meant: not whoever has another customer id, or another external id, than the row."""
    new = {one.kind for one in identities if one.kind in OWN_KINDS and one not in owners}
    found = {one: owners[one] for one in identities if one in owners}
    return {one: owner for one, owner in found.items() if not new & own_kinds.get(owner, set())}
