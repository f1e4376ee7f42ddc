"""The door of short links: say where to go, and keep that somebody went."""

from __future__ import annotations

import logging

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from config.infra import tenancy
from messaging.actions.links import record_click
from messaging.models import ShortLink
from messaging.queries import find_link
from shopsync.views import answer, storing

logger = logging.getLogger(__name__)

PRIVATE = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex, nofollow", "Referrer-Policy": "no-referrer"}
_USER_AGENT = 1000
_PURPOSES = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")


@require_http_methods(["GET", "HEAD"])
def follow_link(request: HttpRequest, code: str) -> HttpResponse:
    """Redirect to what a code stands for, which is what the message's template said and nothing in the request.

    302; 404 for a code that is nobody's; 503 only when PostgreSQL can't be asked. A click that can't be kept is logged
    and does not keep anybody from where they want to go.
    """
    response = storing("short link", lambda: _follow(request, code.lower()))
    for name, value in PRIVATE.items():
        response[name] = value
    return response


def _follow(request: HttpRequest, code: str) -> HttpResponse:
    link = find_link(code)
    if link is None:
        return answer(404, "This link leads nowhere. Perhaps a character of it was lost: try it as it was sent to you.")
    try:
        _record(request, link)
    except DatabaseError:
        logger.exception("a click on the link %s was not recorded", link.pk)
    response = HttpResponseRedirect(link.url)
    response["Content-Length"] = "0"
    return response


def _record(request: HttpRequest, link: ShortLink) -> None:
    purpose = " ".join(request.headers.get(name, "") for name in _PURPOSES).strip()
    with tenancy.tenant_scope(link.tenant_id):
        record_click(
            link=link,
            method=request.method or "GET",
            user_agent=request.headers.get("User-Agent", "")[:_USER_AGENT],
            purpose=purpose,
            now=timezone.now(),
        )
