"""The web process: gunicorn's entry."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("SHOPSYNC_PROCESS", "web")

from django.core.wsgi import get_wsgi_application

import config.celery  # noqa: F401  the app that `current_app` finds when a view rings

application = get_wsgi_application()
