"""shopsync: tenants, who may see them, and the inbox that every webhook enters by."""

from __future__ import annotations

from django.apps import AppConfig


class ShopsyncConfig(AppConfig):
    name = "shopsync"
    verbose_name = "Tenants and webhooks"

    def ready(self) -> None:
        """Register the system checks."""
        from shopsync import checks

        checks.register_checks()
