"""config as an app: it makes our Celery app the current one in every Django process, so that a ring finds its
broker."""

from __future__ import annotations

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Create the Celery app."""
        import config.celery

        assert config.celery.app is not None
