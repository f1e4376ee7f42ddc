"""audit: what happened, for people (the trail) and for programs (the outbox)."""

from __future__ import annotations

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Audit"

    def ready(self) -> None:
        """Register the system checks and keep the dead letters' view in step with the queues."""
        from audit import checks, views_sql

        checks.register_checks()
        views_sql.connect()
