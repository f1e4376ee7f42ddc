"""What `make demo` and `make run` do first: servers, migrations, processes, demo tenants, each step with its time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from config import embedded
from config.local.deliveries import Shop
from config.local.environment import ADMIN_USERNAME, LocalKeys
from config.local.merchant import Merchant
from config.local.session import Session, say, seconds_since
from config.local.stack import TWINS, LocalStack
from config.local.twins import EasyPostTwin, StripeTwin

if TYPE_CHECKING:
    from config.local.tenants import DemoTenant


@dataclass
class Ready:
    """A stack that is up, and its demo tenants."""

    session: Session
    stack: LocalStack
    tenants: list[DemoTenant]

    @property
    def keys(self) -> LocalKeys:
        """The checkout's keys."""
        return self.session.keys

    @property
    def own_servers(self) -> set[str]:
        """Those of "postgres" and "redis" that were started here, and are not the environment's."""
        return self.session.own_servers

    @property
    def shopify_secret(self) -> str:
        """What signs the deliveries."""
        return self.session.environment["SHOPIFY_API_SECRET"]

    @property
    def admin_url(self) -> str:
        """Where operators sign in."""
        return f"{self.stack.base_url}/admin/"

    def shop_of(self, demo: DemoTenant) -> Shop:
        """Return a tenant's shop, as Shopify speaks for it."""
        return Shop(self.stack.base_url, self.shopify_secret, demo.shop_domain)

    def merchant_of(self, demo: DemoTenant) -> Merchant:
        """Return a tenant's own system, which has its API key."""
        return Merchant(self.stack.base_url, demo.keys.api_key)

    def stripe_of(self, demo: DemoTenant) -> StripeTwin:
        """Return a tenant's account at Stripe's twin."""
        return StripeTwin(self.stack.twin_url("stripe-sandbox"), demo.account_id)

    def easypost_of(self, demo: DemoTenant) -> EasyPostTwin:
        """Return a tenant's account at EasyPost's twin."""
        return EasyPostTwin(self.stack.twin_url("easypost-sandbox"), demo.account_id)

    def say_login(self) -> None:
        """Print the addresses and the login."""
        owners = ", ".join(f"owner-{demo.label}" for demo in self.tenants)
        say(f"   admin     {self.admin_url}   {ADMIN_USERNAME} / {self.keys.admin_password}   (also {owners})")
        say(f"   API docs  {self.stack.base_url}/api/docs   health  {self.stack.base_url}/health")


def prepare(session: Session, stack: LocalStack) -> Ready:
    """Migrate, start the processes, make the demo tenants, and return once requests are answered."""
    started = time.monotonic()
    _say_servers(session)
    import django  # the settings are read here, after the environment they need was made

    django.setup()
    from config.local import database, tenants

    steps = database.migrate()
    say(f"   database  {f'{steps} migrations applied' if steps else 'no migration is missing'}")
    database.prepare_redis()
    stack.start("web", "worker", "beat", *TWINS)
    say(f"   started   web, worker, beat and the twins of Mitto, Stripe and EasyPost ({seconds_since(started)})")
    demo_tenants = tenants.set_up_tenants(session.keys, stack)
    people = tenants.set_up_people(session.keys.admin_password)
    say(f"   tenants   {', '.join(demo.shop_domain for demo in demo_tenants)}; people: {', '.join(people)}")
    stack.wait_for_web()
    say(f"   ready     {stack.base_url} ({seconds_since(started)})")
    return Ready(session, stack, demo_tenants)


def _say_servers(session: Session) -> None:
    pids = embedded.EmbeddedServers(session.state).pids()
    for name in ("postgres", "redis"):
        where = f"embedded, pid {pids[name]}" if name in pids else "the one that the environment names"
        say(f"   {name:<9} {where}")
