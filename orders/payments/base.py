"""The shape that every payment gateway has: what we ask of it, and what can come of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, cast

from django.utils.module_loading import import_string

from config.infra.work import CallError
from orders.webhooks import Fact

GATEWAYS = {
    "stripe": "orders.payments.stripe.StripeGateway",
}


@dataclass(frozen=True, slots=True)
class GatewayAccount:
    """One tenant's account with one gateway; `connection_id` names its circuit breaker."""

    gateway: str
    connection_id: str
    base_url: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Money to give back: `key` is sent as the idempotency key, and along with the refund, to know it by."""

    payment_id: str
    amount: Decimal
    currency: str
    key: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """An authorisation to take: `amount` of it, the rest is let go; `key` is sent as the idempotency key."""

    payment_id: str
    amount: Decimal
    currency: str
    key: str


class GatewayError(CallError):
    """A gateway's word on a call without a good answer; the flags mean what CallError's do."""


class Gateway(Protocol):
    """One account with one gateway."""

    def refund(self, order: RefundOrder) -> list[Fact]:
        """Give money back, in one request; what the answer says.

        Raises: GatewayError.
        """
        ...

    def find_refund(self, order: RefundOrder) -> list[Fact]:
        """Look for the refund that was asked for under this key; empty when the gateway knows of none.

        Raises: GatewayError.
        """
        ...

    def capture(self, order: CaptureOrder) -> list[Fact]:
        """Take the money of an authorisation, in one request; how the payment stands then.

        Raises: GatewayError.
        """
        ...

    def cancel(self, payment_id: str, *, key: str) -> list[Fact]:
        """Give up an authorisation, in one request; how the payment stands then.

        Raises: GatewayError.
        """
        ...

    def ask(self, payment_id: str) -> list[Fact]:
        """Ask how a payment stands: itself, its charge, refunds and disputes, as the truth of this second.

        Raises: GatewayError.
        """
        ...


def get_gateway(account: GatewayAccount) -> Gateway:
    """Return the adapter for an account.

    Raises: ValueError for a gateway of no such name.
    """
    path = GATEWAYS.get(account.gateway)
    if path is None:
        raise ValueError(f"no payment gateway is called {account.gateway!r}; known: {', '.join(sorted(GATEWAYS))}")
    return cast("Gateway", import_string(path)(account))
