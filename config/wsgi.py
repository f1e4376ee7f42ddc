"""The web process: gunicorn's entry, with a short way for webhooks.

A webhook has no session, no user, no cookies and no page, so its requests skip the middleware made for those and
keep only what they need: no tenant in scope at the start. Measured effect: docs/decisions/0005-intake.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("SHOPSYNC_PROCESS", "web")

import django

django.setup(set_prefix=False)

from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler

from shopsync.middleware import TenantScopeMiddleware


class IntakeHandler(WSGIHandler):
    """Django's handler with one middleware: for senders, who get an answer and nothing else."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Put the view behind the empty tenant scope alone."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        view = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]  # not in the stubs
        scoped = TenantScopeMiddleware(view)  # type: ignore[arg-type]  # the stubs allow for async here
        self._middleware_chain = convert_exception_to_response(scoped)


_site = WSGIHandler()
_intake = IntakeHandler()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Send webhooks the short way and everything else through the whole of Django."""
    handler = _intake if environ.get("PATH_INFO", "").startswith("/webhooks/") else _site
    return handler(environ, start_response)
