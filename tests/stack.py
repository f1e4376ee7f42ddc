"""The product's real processes on the test database, for flow tests: gunicorn, a worker, beat and the sandbox.

def test_something(stack, tenant):
    shop = stack.connect(tenant)
    stack.post("orders/paid", body, tenant.shop_domain)
    stack.wait_idle()
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from config.infra import tenancy, work
from config.infra.cache import redis_client
from config.local import database, deliveries
from config.local.deliveries import Answer, Shop
from config.local.processes import wait_until
from config.local.stack import LocalStack
from messaging.models import Automation, AutomationVersion
from shopsync.actions.tenants import connect_service
from shopsync.models import Connection, Tenant
from tests.factories import database_url

NAMES = ("web", "worker", "beat", "sandbox")
THANKS = "Thank you, {{ contact.first_name }}: {{ order.name }}"


class Stack:
    """Real processes, real HTTP. Started once a session; whatever a test kills is started again for the next one."""

    def __init__(self, folder: Path) -> None:
        self.failpoints = folder / "failpoints"
        self.failpoints.mkdir(parents=True)
        environment = {
            **os.environ,
            "SHOPIFY_ADMIN_URL": "http://{shop_domain}",  # a double's address can be a tenant's domain
            "SHOPSYNC_ENV": "test",
            "DATABASE_URL": database_url(),
            "REDIS_URL": settings.REDIS_URL,
            "SHOPSYNC_FAILPOINTS": str(self.failpoints),
            "MEDIA_ROOT": str(folder / "media"),
        }
        self.local = LocalStack(folder, environment)

    @property
    def base_url(self) -> str:
        """Where the web process listens."""
        return self.local.base_url

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox provider listens."""
        return self.local.sandbox_url

    # The processes

    def revive(self) -> None:
        """Start what does not run, with a sandbox that has forgotten everything, and no fail-point armed."""
        for name in NAMES:
            if name == "sandbox" or name not in self.local.processes or name in self._dead():
                self.local.kill(name)
                self.local.start(name)
        for armed in self.failpoints.iterdir():
            armed.unlink()
        database.prepare_redis()
        for model in work.queues():
            redis_client().delete(f"bell:{model.queue.name}")  # a bell rung for rows that were truncated
        self.local.wait_for_web()

    def _dead(self) -> set[str]:
        return {process.name for process in self.local.dead()}

    def stop(self) -> None:
        """End everything."""
        self.local.stop(grace_seconds=5)

    def kill_worker(self) -> None:
        """SIGKILL the worker and its children."""
        self.local.kill("worker")

    def restart_worker(self) -> None:
        """Start the worker again, killing it first when it runs."""
        self.local.kill("worker")
        self.local.start("worker")

    def kill_web(self) -> None:
        """SIGKILL the web process and its children."""
        self.local.kill("web")

    def restart_web(self) -> None:
        """Start the web process again, on the same port, killing it first when it runs."""
        self.local.kill("web")
        self.local.start("web")
        self.local.wait_for_web()

    def arm(self, failpoint: str) -> None:
        """Let the next process that comes by this fail-point die there by SIGKILL."""
        (self.failpoints / failpoint).touch()

    def is_armed(self, failpoint: str) -> bool:
        """Has nobody come by yet?"""
        return (self.failpoints / failpoint).exists()

    def log_tails(self, lines: int = 40) -> str:
        """Return the ends of all logs, for a failed test's report."""
        tails = [f"--- {name}\n{process.log_tail(lines)}" for name, process in self.local.processes.items()]
        return "\n".join(tails)

    # What a test does

    def post(self, topic: str, body: Mapping[str, Any] | bytes, shop_domain: str, **options: Any) -> Answer:
        """Send a signed delivery; options: webhook_id, event_id, triggered_at, without (a header)."""
        return Shop(self.base_url, settings.SHOPIFY_API_SECRET, shop_domain).post(topic, body, **options)

    def connect(self, tenant: Tenant, *, template: str = THANKS) -> Connection:
        """Give a tenant a connection to the sandbox, reports that come back, and the automation on order.paid."""
        account_id = f"account-{tenant.pk}"
        with tenancy.tenant_scope(tenant.pk):
            connection = connect_service(
                service="mitto",
                actor="test",
                base_url=self.sandbox_url,
                account_id=account_id,
                sender="Shopsync",
                api_key="sandbox",
            )
            automation = Automation(name="thanks", trigger_event="order.paid")
            automation.save()
            AutomationVersion(automation=automation, number=1, channel="sms", template=template).save()
        url = f"{self.base_url}/webhooks/mitto/dlr/{connection.token}"
        deliveries.register_reports(self.sandbox_url, account_id=account_id, url=url)
        return connection

    def behave(self, **behaviour: Any) -> None:
        """Set the sandbox's whole behaviour (messaging.providers.sandbox_state.Behaviour)."""
        deliveries.behave(self.sandbox_url, **behaviour)

    def accepted(self) -> list[dict[str, Any]]:
        """Return every message that the sandbox accepted, oldest first."""
        return deliveries.accepted_messages(self.sandbox_url)

    def get(self, path: str) -> Any:
        """GET a path of ours and return its JSON."""
        return json.loads(deliveries.request("GET", self.base_url + path).text)

    def wait_idle(self, timeout: float = 30.0) -> None:
        """Return once no work is due and none is held, in any queue."""
        database.wait_until_idle(timeout)

    def wait_for(self, condition: Any, what: str, timeout: float = 30.0) -> None:
        """Return once the condition holds."""
        wait_until(condition, timeout, what)

    def quiesce(self) -> None:
        """Make sure that nobody is at work, before the tables are truncated: held work of a killed worker is left."""
        with contextlib.suppress(TimeoutError):
            database.wait_until_idle(5)
            return
        self.local.kill("worker")
        self.local.kill("sandbox")


def running_stack(folder: Path) -> Iterator[Stack]:
    """Yield a stack whose processes end with it; nothing is started before the first test needs it."""
    stack = Stack(folder)
    try:
        yield stack
    finally:
        stack.stop()
