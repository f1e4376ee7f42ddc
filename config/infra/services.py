"""The outside services, declared once: when a breaker opens, how long a call may take, what happens meanwhile.

Adapters name a service and take all figures from here; a name that is not here is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class InARow:
    """Opens after so many failures in a row; a success starts the count again."""

    failures: int

    def __post_init__(self) -> None:
        if self.failures < 1:
            raise ValueError("a breaker opens after at least 1 failure")

    def __str__(self) -> str:
        return f"{self.failures} failures in a row"


@dataclass(frozen=True, slots=True)
class ShareOf:
    """Opens when at least this share of the last `calls` calls failed; calls not made yet count as good."""

    share: float
    calls: int

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.calls < 1:
            raise ValueError("a breaker opens at a share above 0 and up to 1, of at least 1 call")

    @property
    def failures(self) -> int:
        """How many failures among the last `calls` calls that is."""
        return math.ceil(round(self.share * self.calls, 9))

    def __str__(self) -> str:
        return f"{self.share:.0%} of the last {self.calls} calls failed"


@dataclass(frozen=True, slots=True)
class Repeats:
    """How a call that is safe to repeat is repeated: exponential back-off with full jitter, within bounds.

    A service that asks (Retry-After) for a longer wait than `longest_wait_seconds` is not asked again by this call.
    `total_seconds` bounds attempts and waits together. It is shorter than the lease of a work row, and than the time
    after which parked calls are asked about.
    """

    attempts: int = 3
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 5.0
    total_seconds: float = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One outside service; `meanwhile` says to operators what the product does while its breaker is open.

    is_per_tenant: a tenant has it without a Connection, and its breaker's connection is `tenant:ID`.
    """

    name: str
    opens_after: InARow | ShareOf
    meanwhile: str
    open_seconds: float = 30.0
    timeout_seconds: float = 10.0
    is_per_tenant: bool = False
    repeats: Repeats = field(default_factory=Repeats)

    @property
    def blocker(self) -> str:
        """What a work row waits for while the breaker is open: one spelling for all queues."""
        return f"breaker open: {self.name}"


_DECLARED = (
    Service(
        name="mitto",
        opens_after=InARow(5),
        meanwhile="SMS wait in their queue with the blocker 'breaker open: mitto'; other channels go on.",
    ),
    Service(
        name="email",
        opens_after=InARow(3),
        meanwhile="E-mails wait in their queue with the blocker 'breaker open: email'; other channels go on.",
    ),
    Service(
        name="shopify",
        opens_after=InARow(5),
        is_per_tenant=True,
        meanwhile="Calls to Shopify wait with the blocker 'breaker open: shopify'; webhooks still come in.",
    ),
    Service(
        name="payments",
        opens_after=InARow(5),
        meanwhile="Captures and refunds are queued; each row waits with the blocker 'breaker open: payments'.",
    ),
    Service(
        name="shipping",
        opens_after=InARow(3),
        meanwhile="Labels are queued; each row waits with the blocker 'breaker open: shipping'. Orders go on.",
    ),
    Service(
        name="storage",
        opens_after=InARow(5),
        meanwhile="Files are queued; each row waits with the blocker 'breaker open: storage'. Orders go on.",
    ),
)
SERVICES = {service.name: service for service in _DECLARED}


class UndeclaredServiceError(LookupError):
    """A service was named that is not declared."""


def find_service(name: str) -> Service:
    """Return a declared service.

    Raises: UndeclaredServiceError.
    """
    if name not in SERVICES:
        known = ", ".join(sorted(SERVICES))
        raise UndeclaredServiceError(f"no service {name!r} is declared in config/infra/services.py; there are: {known}")
    return SERVICES[name]
