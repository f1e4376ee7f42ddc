"""shopsync: tenants, who may see them, and the inbox that every webhook enters by."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin import apps as admin_apps
from django.db import connections
from django.db.models.signals import post_migrate


class ShopsyncConfig(AppConfig):
    name = "shopsync"
    default = True
    verbose_name = "Tenants and webhooks"

    def ready(self) -> None:
        """Register the system checks, and keep the schedules in step with their declaration."""
        from shopsync import checks

        checks.register_checks()
        post_migrate.connect(self.make_schedules, sender=self, dispatch_uid="shopsync.make_schedules")

    def make_schedules(self, using: str, **_: Any) -> None:
        """Make rows of the declared schedules, once both their tables are there."""
        from shopsync.actions.schedules import apply_schedules  # models are ready by now

        connection = connections[using]
        with connection.cursor() as cursor:
            tables = connection.introspection.table_names(cursor)
        if {"shopsync_schedulewatch", "django_celery_beat_periodictask"} <= set(tables):
            apply_schedules(declared=settings.SCHEDULES)


class ShopsyncAdminConfig(admin_apps.AdminConfig):
    """Django's admin with our site (the tenant switcher) as its default."""

    default_site = "shopsync.sites.ShopsyncSite"
    default = False
