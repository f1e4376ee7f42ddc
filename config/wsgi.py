"""The web process: gunicorn's entry, with a short way for webhooks.

A webhook has no session, no user, no cookies and no page, so its requests skip the middleware made for those and
keep only what they need: no tenant in scope at the start. Measured effect: docs/decisions/0005-intake.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, cast

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
        super().load_middleware(is_async)
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        handler: Any = self  # django-stubs know neither `_get_response` nor that this handler is never asynchronous
        view = convert_exception_to_response(handler._get_response)
        self._middleware_chain = convert_exception_to_response(TenantScopeMiddleware(cast("Any", view)))


_site = WSGIHandler()
_intake = IntakeHandler()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Send webhooks the short way and everything else through the whole of Django."""
    handler = _intake if environ.get("PATH_INFO", "").startswith("/webhooks/") else _site
    return handler(environ, start_response)
