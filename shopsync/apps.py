"""shopsync: tenants, who may see them, and the inbox that every webhook enters by."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class ShopsyncConfig(AppConfig):
    name = "shopsync"
    default = True
    verbose_name = "Tenants and webhooks"

    def ready(self) -> None:
        """Register the system checks."""
        from shopsync import checks

        checks.register_checks()


class ShopsyncAdminConfig(admin_apps.AdminConfig):
    """Django's admin with our site (the tenant switcher) as its default."""

    default_site = "shopsync.sites.ShopsyncSite"
    default = False
