"""The shape that every carrier has: what we ask of it, and what can come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol, cast

from django.utils.module_loading import import_string

CARRIERS = {"easypost": "orders.carriers.easypost.EasyPost"}
LABEL_TYPES = {"application/pdf": "pdf", "image/png": "png"}
MAX_LABEL_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CarrierAccount:
    """One tenant's account; `connection_id` names its circuit breaker."""

    service: str
    connection_id: str
    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is to be sent, from where to where. Addresses are in our own words (see `ADDRESS_FIELDS`)."""

    reference: str
    from_address: Mapping[str, str] = field(repr=False)
    to_address: Mapping[str, str] = field(repr=False)
    weight_grams: int
    length_mm: int | None = None
    width_mm: int | None = None
    height_mm: int | None = None


ADDRESS_FIELDS = ("name", "company", "address1", "address2", "city", "province_code", "zip", "country_code", "phone")


@dataclass(frozen=True, slots=True)
class Rate:
    """One offer."""

    id: str
    company: str
    service: str
    amount: Decimal
    currency: str
    delivery_days: int | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """A label that was bought."""

    url: str
    tracking_number: str
    tracking_url: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class RemoteShipment:
    """A shipment as its carrier has it; `label` is None until one is bought, `void_status` empty until it is asked."""

    remote_id: str
    reference: str
    rates: tuple[Rate, ...]
    label: Label | None
    void_status: str


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A label's bytes, of a type and size that we keep."""

    content_type: str
    body: bytes = field(repr=False)


class Carrier(Protocol):
    """A carrier for one account. Each method is one request.

    Raises: config.infra.work.CallError; a question (find, read, fetch_label) never says `unknown`, since it moves
    nothing.
    """

    def quote(self, parcel: Parcel) -> RemoteShipment:
        """Make the parcel known under its reference, and get its rates. It costs nothing."""
        ...

    def requote(self, remote_id: str) -> tuple[Rate, ...]:
        """Get fresh rates."""
        ...

    def find(self, reference: str) -> RemoteShipment | None:
        """Ask for a shipment by its reference, or by the carrier's own id; None when it is not known."""
        ...

    def buy(self, remote_id: str, rate_id: str) -> RemoteShipment:
        """Buy the label at a rate. It costs money; the carrier has no idempotency key for it."""
        ...

    def void(self, remote_id: str) -> RemoteShipment:
        """Ask for the label's money back."""
        ...

    def fetch_label(self, url: str) -> LabelFile:
        """Fetch a label's file."""
        ...


def get_carrier(account: CarrierAccount) -> Carrier:
    """Return the adapter for an account.

    Raises: ValueError when no carrier has that name.
    """
    path = CARRIERS.get(account.service)
    if path is None:
        raise ValueError(f"no carrier is called {account.service!r}; known: {', '.join(sorted(CARRIERS))}")
    made: Any = import_string(path)(account)
    return cast("Carrier", made)
