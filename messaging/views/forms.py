"""Sign-up forms: the public pages, and the API by which they are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods
from django_filters import BooleanFilter
from django_filters.rest_framework import FilterSet
from django_ratelimit.core import is_ratelimited
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from config.infra import tenancy
from messaging.actions import forms
from messaging.models import ConsentEntry, SignupForm
from messaging.serializers.forms import FormInput, FormRow, SubmissionInput
from shopsync.auth import MayConfigure, ReadOrAct, actor_of, client_address
from shopsync.models import Tenant
from shopsync.serializers import StrictQuery, read
from shopsync.views import KEY, answer_once, declare_problem

PER_ADDRESS, PER_FORM = "10/m", "600/m"
_THANKS = "Thank you."
_LOOK = "Please look at your messages: a link in one of them confirms it."
_TOO_MANY = "Too many tries; wait a minute, then try again."
_GONE = "This form is no longer here."
_OLD_LINK = "This link is too old, or was cut on its way; fill in the form once more."
_ANSWERED = "Something else was said since this link was sent, such as an opt-out; fill in the form once more."

declare_problem(forms.FormError, status=400, slug="form-exists", title="There is one already")


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST", "OPTIONS"])
def sign_up(request: HttpRequest, token: str) -> HttpResponse:
    """Show a sign-up form, and take what is sent by it: form-encoded, or JSON from a site that its owner allows.

    The answer is the same whether an address is known or not. 400 names what is wrong with what was sent; 403 for a
    site that is not allowed; 404 unknown or inactive; 429 over 10 a minute by address, or 600 by form (without Redis
    nobody is kept out: RATELIMIT_FAIL_OPEN).
    """
    form = forms.form_of(token)
    if form is None:
        return _page(request, "Nothing here", [_GONE], code=404)
    origin = request.headers.get("Origin", "")
    if origin and origin not in forms.origins_of(form):
        return _page(request, form.name, ["This site may not send this form."], code=403)
    if request.method == "OPTIONS":
        return _allow(HttpResponse(status=204), origin)
    if request.method == "POST":
        return _allow(_take(request, form), origin)
    return _show(request, form)


def _allow(answer: HttpResponse, origin: str) -> HttpResponse:
    """Let the scripts of an allowed site read the answer."""
    if origin:
        answer["Access-Control-Allow-Origin"] = origin
        answer["Access-Control-Allow-Headers"] = "Content-Type"
        answer["Access-Control-Allow-Methods"] = "POST"
        answer["Vary"] = "Origin"
    return answer


def _show(
    request: HttpRequest, form: SignupForm, *, given: Mapping[str, Any] | None = None, errors: tuple[str, ...] = ()
) -> HttpResponse:
    asks_phone = bool({"sms", "whatsapp"} & set(form.channels))
    words = {"title": form.name, "form": form, "given": given or {}, "errors": errors}
    words |= {"asks_email": "email" in form.channels, "asks_phone": asks_phone}
    return _no_store(render(request, "messaging/sign_up.html", words, status=400 if errors else 200))


def _take(request: HttpRequest, form: SignupForm) -> HttpResponse:
    is_json = request.content_type == "application/json"
    if _is_over(request, form):
        return _refuse(request, form, {"detail": _TOO_MANY}, code=429, is_json=is_json)
    body = _body(request, is_json=is_json)
    with tenancy.tenant_scope(form.tenant_id):
        country = Tenant.objects.get(pk=form.tenant_id).country
        given = SubmissionInput(data=body, context={"channels": form.channels, "country": country})
        if not given.is_valid():
            errors = [str(text) for texts in given.errors.values() for text in texts]
            if is_json:
                return JsonResponse({"errors": given.errors}, status=400)
            return _show(request, form, given=body, errors=tuple(errors))
        if not given.validated_data["website"]:
            agent = request.headers.get("User-Agent", "").replace("\0", "")
            page = request.headers.get("Referer", "").replace("\0", "")
            sent = given.to_submission(ip=client_address(request), user_agent=agent, page=page)
            forms.take_submission(form=form, given=sent, now=timezone.now())
    return _thank(request, form, is_json=is_json)


def _is_over(request: HttpRequest, form: SignupForm) -> bool:
    by_address = is_ratelimited(request, group="forms", key="ip", rate=PER_ADDRESS, increment=True)
    by_form = is_ratelimited(request, group="forms.form", key=lambda *_: str(form.pk), rate=PER_FORM, increment=True)
    return bool(by_address or by_form)


def _body(request: HttpRequest, *, is_json: bool) -> Mapping[str, Any]:
    if not is_json:
        return request.POST.dict()
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _thank(request: HttpRequest, form: SignupForm, *, is_json: bool) -> HttpResponse:
    """Answer alike whoever it was."""
    sentences = [form.thanks_text or _THANKS, *([_LOOK] if form.double_opt_in and not form.thanks_text else [])]
    if is_json:
        return JsonResponse({"detail": " ".join(sentences)})
    if form.redirect_url:
        return HttpResponseRedirect(form.redirect_url)
    return _page(request, form.name, sentences)


def _refuse(request: HttpRequest, form: SignupForm, said: dict[str, str], *, code: int, is_json: bool) -> HttpResponse:
    return JsonResponse(said, status=code) if is_json else _page(request, form.name, [said["detail"]], code=code)


def _page(request: HttpRequest, title: str, sentences: list[str], *, code: int = 200, **words: Any) -> HttpResponse:
    page = {"title": title, "sentences": sentences, **words}
    return _no_store(render(request, "messaging/confirm.html", page, status=code))


def _no_store(answer: HttpResponse) -> HttpResponse:
    answer["Cache-Control"] = "no-store"
    answer["Referrer-Policy"] = "no-referrer"
    return answer


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest, token: str) -> HttpResponse:
    """Ask whoever follows a confirming link to press a button, and subscribe them once they do.

    GET changes nothing: scanners of links and mailboxes fetch them all. 409 once they said something else since.
    """
    found = forms.read_confirmation(token)
    if found is None:
        return _page(request, "Nothing to confirm", [_OLD_LINK], code=404)
    tenant_id, entry_id = found
    with tenancy.tenant_scope(tenant_id):
        entry = ConsentEntry.objects.filter(pk=entry_id).first()
        name = Tenant.objects.get(pk=tenant_id).name
        if entry is None:
            return _page(request, "Nothing to confirm", [_OLD_LINK], code=404)
        if request.method != "POST":
            return _page(request, f"Confirm for {name}", [], agreed=entry.text_shown, button="Yes, I confirm")
        agent = request.headers.get("User-Agent", "").replace("\0", "")
        ip = client_address(request)
        if not forms.confirm_consent(entry_id=entry_id, ip=ip, user_agent=agent, now=timezone.now()):
            return _page(request, "Nothing to confirm", [_ANSWERED], code=409)
    return _page(request, "Confirmed", ["Thank you: you are on the list."])


class FormFilters(FilterSet):
    """Filters of forms."""

    is_active = BooleanFilter()


class Forms(StrictQuery, ReadOrAct, ReadOnlyModelViewSet[SignupForm]):
    """Sign-up forms."""

    acting = MayConfigure
    queryset = SignupForm.objects.none()
    serializer_class = FormRow
    filterset_class = FormFilters

    def get_queryset(self) -> QuerySet[SignupForm]:
        """Read the tenant's forms."""
        return SignupForm.objects.all()

    @extend_schema(request=FormInput, responses={201: FormRow}, parameters=[KEY], summary="Make a sign-up form")
    def create(self, request: Request) -> Response:
        """Make a form; its address is in `url`."""
        return answer_once(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        values = read(FormInput, request)
        made = forms.save_form(form_id=None, values=values, actor=actor_of(request), now=timezone.now())
        return Response(FormRow(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=FormInput, responses=FormRow, summary="Change a sign-up form")
    def partial_update(self, request: Request, pk: int) -> Response:
        """Change what is given; what people agreed to before stays with their consent."""
        self.get_object()
        given = FormInput(data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        values = dict(given.validated_data)
        made = forms.save_form(form_id=pk, values=values, actor=actor_of(request), now=timezone.now())
        return Response(FormRow(made).data)
