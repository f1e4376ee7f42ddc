"""The door of unsubscribe links: a page for people, and one request for e-mail programs (RFC 8058).

Nobody signs in here: whoever has the link may unsubscribe. There is no cookie, no script, and nothing that another
site could do with the browser of a person who is signed in, so no token against forged requests either.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.http.request import RawPostDataException
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from config.infra import tenancy
from messaging.actions.unsubscribes import Preference, preferences_of, read_token, save_preferences, unsubscribe
from messaging.models import Message
from messaging.models.contacts import Channel
from messaging.queries import find_unsubscriber
from messaging.views.links import PRIVATE
from shopsync.models import Tenant
from shopsync.views import answer, storing

ONE_CLICK = {"List-Unsubscribe": ["One-Click"]}
_MAX_BODY_BYTES = 10_000
_BLOCKED = {
    "stop": "you replied STOP; reply START to it",
    "bounce": "mail to it came back",
    "complaint": "it was reported as spam",
    "manual": "it was switched off by the shop",
    "import": "it was switched off by the shop",
}
_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe_page(request: HttpRequest, token: str) -> HttpResponse:
    """Show the page (GET, which changes nothing), unsubscribe, or save preferences (POST, as a form).

    A POST of exactly List-Unsubscribe=One-Click unsubscribes and is answered 200, without a redirect, however often it
    comes. 400 a body that says nothing known; 404 a token that is not ours; 413 over 10 kB; 503 when PostgreSQL is
    away: e-mail programs then try again.
    """
    response = storing("unsubscribe", lambda: _find(request, token))
    for name, value in PRIVATE.items():
        response[name] = value
    return response


def _find(request: HttpRequest, token: str) -> HttpResponse:
    reference = read_token(token)
    message = find_unsubscriber(reference) if reference is not None else None
    if message is None:
        return answer(404, "This link is not one of ours. Perhaps a character of it was lost.")
    with tenancy.tenant_scope(message.tenant_id):
        return _post(request, message) if request.method == "POST" else _page(message)


def _post(request: HttpRequest, message: Message) -> HttpResponse:
    if not _is_small(request):
        return answer(413, "the body is over 10 kB")
    if request.content_type not in _TYPES:
        return answer(400, "send a form: List-Unsubscribe=One-Click")
    try:
        given = {name: request.POST.getlist(name) for name in request.POST}
    except (RawPostDataException, ValueError):
        return answer(400, "the form can't be read")
    if given == ONE_CLICK:
        unsubscribe(message=message, now=timezone.now())
        return answer(200, "unsubscribed")
    if given == {"do": ["unsubscribe"]}:
        unsubscribe(message=message, now=timezone.now())
        return _page(message, said="You are unsubscribed.")
    if given.get("do") == ["save"] and set(given.get("on", [])) <= set(Channel.values):
        on = set(given.get("on", []))
        wanted = {channel: channel in on for channel in Channel.values}
        save_preferences(message=message, wanted=wanted, now=timezone.now())
        return _page(message, said="Saved.")
    return answer(400, "send a form: List-Unsubscribe=One-Click")


def _is_small(request: HttpRequest) -> bool:
    length = request.META.get("CONTENT_LENGTH") or "0"
    return length.isascii() and length.isdecimal() and int(length) <= _MAX_BODY_BYTES


def _page(message: Message, *, said: str = "") -> HttpResponse:
    preferences = preferences_of(message=message)
    own = next((one for one in preferences if one.channel == message.channel), None)
    context = {
        "name": Tenant.objects.get(pk=message.tenant_id).name,
        "said": said,
        "own": own and _row(own),
        "rows": [_row(one) for one in preferences],
    }
    # Without the request: no context processor looks at a session, so none is begun.
    return HttpResponse(render_to_string("messaging/unsubscribe.html", context))


def _row(preference: Preference) -> dict[str, object]:
    return {
        "channel": preference.channel,
        "title": {"sms": "SMS", "email": "E-mail", "whatsapp": "WhatsApp"}[preference.channel],
        "address": _masked(preference.address),
        "is_on": preference.is_on,
        "is_suppressed": preference.is_suppressed,
        "why": _BLOCKED.get(preference.blocked, preference.blocked),
    }


def _masked(address: str) -> str:
    """Show enough of an address for its owner: the message may have been passed on."""
    name, at, domain = address.partition("@")
    return f"{name[:1]}•••{at}{domain}" if at else f"•••{address[-3:]}"
