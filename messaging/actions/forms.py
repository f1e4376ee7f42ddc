"""Sign-up forms: kept; what strangers send; and the links by which they confirm it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core import signing
from django.db import IntegrityError, transaction
from django.urls import reverse

from audit.actions import record
from config.infra import tenancy, work
from messaging.actions.consent import State, state_consent
from messaging.actions.contacts import Profile, ensure_contact
from messaging.emails import render_email
from messaging.models import ConsentEntry, ConsentState, Contact, Message, MessageBody, SignupForm
from messaging.models.contacts import Channel
from shopsync.actions.refusals import InvalidInput
from shopsync.models import Tenant

_SALT = "messaging.forms.confirm"
LINK_DAYS = 30
AGAIN_AFTER = timedelta(hours=1)  # a pending person is not written to more often than this
FIELDS = ("name", "channels", "text_shown", "double_opt_in", "confirmation_text", "thanks_text", "redirect_url",
          "allowed_origins", "is_active")  # fmt: skip
_CONFIRM_HTML = '<p>{{ text }}</p><p><a href="{{ url }}">{{ url }}</a></p>'
_CONFIRM = "{name}: please confirm that you want to hear from us."


class FormError(InvalidInput):
    """A form that can't be kept as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a stranger sent, normalised; what is empty was left out. `ip` and `user_agent` are part of the proof."""

    email: str = ""
    phone: str = ""
    first_name: str = ""
    last_name: str = ""
    ip: str = ""
    user_agent: str = ""
    page: str = ""


@transaction.atomic(savepoint=False)
def save_form(*, form_id: int | None, values: Mapping[str, Any], actor: str, now: datetime) -> SignupForm:
    """Make or change a form; `values` are some of FIELDS.

    Raises: FormError for a name that is another's; SignupForm.DoesNotExist.
    """
    form = SignupForm() if form_id is None else SignupForm.objects.select_for_update().get(pk=form_id)
    for name in FIELDS:
        if name in values:
            setattr(form, name, values[name])
    form.updated_at = now
    try:
        with transaction.atomic():
            form.save()
    except IntegrityError as error:
        if "signupform_has_its_own_name" not in str(error):
            raise
        raise FormError("name", f"There is a form {form.name!r} already; give another name.") from error
    record(name="signup_form.saved", subject=f"form:{form.pk}", actor=actor, data={"fields": sorted(values)})
    return form


@transaction.atomic(savepoint=False)
def take_submission(*, form: SignupForm, given: Submission, now: datetime) -> None:
    """Write what a stranger agreed to, and, with double opt-in, send them the link that confirms it.

    Each address is a contact of its own unless it is one's already: a stranger's word is not enough to tie somebody's
    e-mail address to a phone. Whoever is subscribed there already stays so.
    """
    addresses = {"email": given.email, "sms": given.phone, "whatsapp": given.phone}
    for channel in form.channels:
        if addresses[channel]:
            _take(form, given, channel=channel, address=addresses[channel], now=now)


def _take(form: SignupForm, given: Submission, *, channel: str, address: str, now: datetime) -> None:
    kind = "email" if channel == "email" else "phone"
    profile = Profile(customer_shopify_id=None, **{"email": "", "phone": "", kind: address})
    contact = ensure_contact(profile=profile, actor=f"form:{form.pk}")
    assert contact is not None  # it has an address
    _name(contact, given)
    known = ConsentState.objects.filter(contact=contact, channel=channel).select_related("entry").first()
    holds = known is not None and known.state == State.SUBSCRIBED and known.lapsed_at is None
    if known is not None and holds and (known.covers(address) or not form.double_opt_in):
        return  # where else they are written to, a link alone may change
    state = State.PENDING if form.double_opt_in else State.SUBSCRIBED
    entry = state_consent(
        contact=contact,
        channel=channel,
        state=state,
        source=f"form:{form.pk}",
        stated_at=now,
        actor=f"form:{form.pk}",
        address=address,
        text_shown=form.text_shown,
        proof={"form": form.pk, "ip": given.ip, "user_agent": given.user_agent[:300], "page": given.page[:300]},
        opt_in_level="" if form.double_opt_in else "single_opt_in",
    )
    if form.double_opt_in and not _was_just_sent(entry, form, now):
        send_confirmation(entry=entry, form=form)


def _name(contact: Contact, given: Submission) -> None:
    """Give a name to whoever has none; a stranger changes no name that is known."""
    if not contact.first_name and not contact.last_name and (given.first_name or given.last_name):
        contact.first_name, contact.last_name = given.first_name[:200], given.last_name[:200]
        contact.save(update_fields=["first_name", "last_name"])


def _was_just_sent(entry: ConsentEntry, form: SignupForm, now: datetime) -> bool:
    """Was the link sent a moment ago? Then whoever sends the form again fills nobody's mailbox."""
    pending = ConsentEntry.objects.filter(contact_id=entry.contact_id, channel=entry.channel, state=State.PENDING)
    others = pending.filter(source=f"form:{form.pk}", address=entry.address).exclude(pk=entry.pk)
    return any(not _is_answered(other) for other in others.filter(stated_at__gt=now - AGAIN_AFTER))


def send_confirmation(*, entry: ConsentEntry, form: SignupForm) -> None:
    """Queue the message that carries the confirming link: it asks for consent, so it needs none, and it is sent unless
    the address is suppressed. An e-mail has the sentence as its subject."""
    contact, channel, url = entry.contact, entry.channel, confirmation_url(entry)
    name = Tenant.objects.get(pk=form.tenant_id).name or "A shop"
    text = form.confirmation_text or _CONFIRM.format(name=name)
    message = Message(
        tenant_id=contact.tenant_id,
        contact=contact,
        trigger=f"form:{form.pk}",
        purpose=Message.Purpose.TRANSACTIONAL,
        channel=channel,
        address=entry.address,
        text=f"{text} {url}",
        priority=0,
    )
    work.add([message])
    if channel == Channel.EMAIL:
        values = {"text": text, "url": url}
        email = render_email(subject="{{ text }}", body=_CONFIRM_HTML, values=values)
        MessageBody(message=message, subject=email.subject, html=email.html).save()


def confirmation_url(entry: ConsentEntry) -> str:
    """Build the link that confirms a pending statement; signed, and good for LINK_DAYS."""
    token = signing.TimestampSigner(salt=_SALT).sign(f"{entry.tenant_id}.{entry.pk}")
    return f"{settings.PUBLIC_URL}{reverse('confirm-consent', args=[token])}"


def read_confirmation(token: str) -> tuple[int, int] | None:
    """Read (tenant id, entry id) off a link; None for one that is not ours, or too old."""
    try:
        value = signing.TimestampSigner(salt=_SALT).unsign(token, max_age=timedelta(days=LINK_DAYS))
    except signing.BadSignature:
        return None
    tenant_id, _, entry_id = value.partition(".")
    return int(tenant_id), int(entry_id)


@transaction.atomic(savepoint=False)
def confirm_consent(*, entry_id: int, ip: str, user_agent: str, now: datetime) -> bool:
    """Turn a pending statement into a subscription, once; False where it is gone, or something was stated since.

    A second time changes nothing, and says whether they are subscribed there. A later `pending` is no statement: it is
    the same form sent again, which the same link confirms.
    """
    # Locked, so that of two presses at once the second sees what the first has stated.
    pending = ConsentEntry.objects.select_for_update(of=("self",)).select_related("contact")
    entry = pending.filter(pk=entry_id, state=State.PENDING).first()
    if entry is None:
        return False
    if _is_answered(entry):
        known = ConsentState.objects.get(contact_id=entry.contact_id, channel=entry.channel)
        return known.state == State.SUBSCRIBED and known.lapsed_at is None and known.address == entry.address
    state_consent(
        contact=entry.contact,
        channel=entry.channel,
        state=State.SUBSCRIBED,
        source=entry.source,
        stated_at=now,
        actor=entry.source,
        address=entry.address,
        text_shown=entry.text_shown,
        proof={"confirms": entry.pk, "ip": ip, "user_agent": user_agent[:300]},
        opt_in_level="confirmed_opt_in",
    )
    return True


def _is_answered(entry: ConsentEntry) -> bool:
    """Was anything but `pending` stated on the channel after this statement?"""
    rows = ConsentEntry.objects.filter(contact_id=entry.contact_id, channel=entry.channel)
    return rows.filter(source_version__gt=entry.source_version).exclude(state=State.PENDING).exists()


def form_of(token: str) -> SignupForm | None:
    """Find the active form under an address; None where there is none."""
    with tenancy.all_tenants(reason="a form's address names its tenant"):
        return SignupForm.objects.filter(token=token, is_active=True).first()


def origins_of(form: SignupForm) -> Sequence[str]:
    """List the sites that may send a form: its own page's, and those that its owner allows."""
    return [settings.PUBLIC_URL, *form.allowed_origins]
