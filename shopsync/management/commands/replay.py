"""Replay webhook deliveries: by their numbers, or by filter."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from config.infra import tenancy
from config.infra.work import Status
from shopsync.actions.inbox import replay_deliveries
from shopsync.models import Tenant, WebhookEvent

ACTOR = "manage.py replay"


class Command(BaseCommand):
    """manage.py replay 17 18 · manage.py replay --tenant demo-one.myshopify.com --status buried --since 2026-11-01"""

    help = "Make stored webhook deliveries ready again, by their numbers or by filter; handlers take them once more."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take numbers or filters."""
        parser.add_argument("ids", nargs="*", type=int, help="the numbers of the deliveries")
        parser.add_argument("--tenant", help="the shop's domain, e.g. demo-one.myshopify.com")
        parser.add_argument("--topic", help="e.g. orders/create")
        parser.add_argument("--status", choices=Status.values, help="e.g. buried")
        parser.add_argument("--since", help="received at or after: 2026-11-01 or 2026-11-01T08:30:00+02:00 (else UTC)")
        parser.add_argument("--dry-run", action="store_true", help="only say how many they are")

    def handle(self, *args: Any, **options: Any) -> None:
        """Replay what was chosen, and say what became of it.

        Raises: CommandError when nothing was chosen, a choice can't be read, or there is no such delivery.
        """
        if not any(options[name] for name in ("ids", "tenant", "topic", "status", "since")):
            raise CommandError("Say which: numbers, or at least one of --tenant, --topic, --status, --since.")
        with tenancy.all_tenants(reason="an operator chooses deliveries of any tenant to replay"):
            rows = self._choose(**options)
            found = rows.count()
            if options["ids"] and found < len(set(options["ids"])):
                known = set(rows.values_list("pk", flat=True))
                missing = ", ".join(str(number) for number in sorted(set(options["ids"]) - known))
                raise CommandError(f"No such delivery (or the filters exclude it): {missing}. Nothing was replayed.")
            if options["dry_run"]:
                self.stdout.write(f"{found} chosen; nothing was changed.")
                return
            done = replay_deliveries(rows=rows, actor=ACTOR)
        self.stdout.write(f"{done.replayed} replayed, {done.not_replayed} not{self._why(done.not_replayed)}.")

    def _choose(self, **options: Any) -> QuerySet[WebhookEvent]:
        rows: QuerySet[WebhookEvent] = WebhookEvent.objects.all()
        if options["ids"]:
            rows = rows.filter(pk__in=options["ids"])
        if options["tenant"]:
            rows = rows.filter(tenant=self._tenant(options["tenant"]))
        if options["since"]:
            rows = rows.filter(created_at__gte=_moment(options["since"]))
        exact = {name: options[name] for name in ("topic", "status") if options[name]}
        return rows.filter(**exact)

    def _tenant(self, shop_domain: str) -> Tenant:
        tenant = Tenant.objects.filter(shop_domain=shop_domain.lower()).first()
        if tenant is None:
            raise CommandError(f"No tenant has the shop domain {shop_domain}.")
        return tenant

    def _why(self, not_replayed: int) -> str:
        return " (still on their way, without payload, or stored again under another id)" if not_replayed else ""


def _moment(text: str) -> datetime:
    """Read a date or a date with a time, UTC unless it says otherwise.

    Raises: CommandError.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        sentence = f"--since {text!r} is neither a date nor a date and time, e.g. 2026-11-01T08:30:00."
        raise CommandError(sentence) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
