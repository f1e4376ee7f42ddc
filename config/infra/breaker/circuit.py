"""The breaker of one service and connection, as callers use it."""

from __future__ import annotations

import logging
from typing import Any, cast

from config.infra.breaker import local, scripts, shared
from config.infra.breaker.local import Moved, State
from config.infra.services import ShareOf, find_service

logger = logging.getLogger(__name__)

KEY_PREFIX = "breaker"
KEY_LIFE_SECONDS = 3600


class BreakerOpen(Exception):  # noqa: N818  (the state is the name)
    """The service is left alone for now; ask again after `retry_after_seconds`. `blocker` is what rows wait for."""

    def __init__(self, service: str, connection: str, retry_after_seconds: float) -> None:
        super().__init__(f"the breaker of {service} ({connection}) is open for {retry_after_seconds:.1f} s more")
        self.retry_after_seconds = retry_after_seconds
        self.blocker = find_service(service).blocker


class Breaker:
    """One circuit breaker. Call `before_call()`, then the service, then `succeeded()`, `failed()` or `released()`.

    `connection` is the id of a Connection, `tenant:ID` where a tenant has the service without one, or a word such as
    `system` for what belongs to no tenant.

    Raises: UndeclaredServiceError; ValueError for a name that could be taken for another tenant's.
    """

    def __init__(self, service: str, connection: str) -> None:
        self.service = service
        self.connection = connection
        self._declared = find_service(service)
        if not connection or (self._declared.is_per_tenant and not connection.startswith("tenant:")):
            wanted = "tenant:ID" if self._declared.is_per_tenant else "the connection that it is for"
            raise ValueError(f"a breaker of {service} needs {wanted}, not {connection!r}")
        self._key = f"{KEY_PREFIX}:{service}:{connection}"

    def before_call(self) -> None:
        """Let the call pass.

        A half-open breaker lets one probe pass; should the prober die, the next one passes after `open_seconds`.

        Raises:
            BreakerOpen: the service is not to be called now.
        """
        wait_ms = self._run(scripts.BEFORE_CALL)
        if wait_ms is None:
            wait = local.breakers.before_call(self._declared, self.connection)
        else:
            wait = int(wait_ms) / 1000
            local.breakers.keep(self._declared, self.connection, wait_seconds=wait)
        if wait > 0:
            raise BreakerOpen(self.service, self.connection, wait)

    def succeeded(self) -> None:
        """Count an answered call: failures in a row are forgotten, a half-open breaker closes."""
        moved = self._run(scripts.SUCCEEDED) or local.breakers.succeeded(self._declared, self.connection)
        if moved == "closed":
            logger.warning("breaker: %s (%s) answers again and is closed", self.service, self.connection)

    def failed(self) -> None:
        """Count a failed call: one too many, or a failed probe, opens the breaker."""
        answer = self._run(scripts.FAILED)
        moved = cast("Moved", answer or local.breakers.failed(self._declared, self.connection))
        if answer in {"opened", "reopened"}:
            local.breakers.keep(self._declared, self.connection, wait_seconds=self._declared.open_seconds)
        self._tell(moved, where="" if answer else ", in this process alone")

    def released(self) -> None:
        """End a call that says nothing of the service, since it was never sent: the next one may be the probe."""
        if self._run(scripts.RELEASED) is None:
            local.breakers.released(self._declared, self.connection)

    def state(self) -> State:
        """Return "closed", "open" or "half-open"; changes nothing."""
        return cast("State", self._run(scripts.STATE) or local.breakers.state(self._declared, self.connection))

    def reset(self) -> bool:
        """Close the breaker by an operator's hand; False when Redis is away, and only this process took note."""
        local.breakers.reset(self._declared, self.connection)
        return self._run(scripts.RESET) is not None

    def _tell(self, moved: Moved, *, where: str) -> None:
        """Log an opening once; a probe that fails again says nothing new, and says it at each probe."""
        name, seconds = f"{self.service} ({self.connection})", self._declared.open_seconds
        if moved == "opened":
            rule = self._declared.opens_after
            logger.warning("breaker: %s opened for %.0f s (%s)%s", name, seconds, rule, where)
        elif moved == "reopened":
            logger.info("breaker: the probe of %s failed; open for %.0f s more%s", name, seconds, where)

    def _run(self, script: str) -> Any:
        rule = self._declared.opens_after
        open_ms = int(self._declared.open_seconds * 1000)
        window = rule.calls if isinstance(rule, ShareOf) else 0
        keys = (self._key, scripts.INDEX_KEY, scripts.OPENINGS_KEY)
        return shared.store.run(script, keys, (open_ms, open_ms + KEY_LIFE_SECONDS * 1000, rule.failures, window))
