"""Templates: made and archived; a change is a new version, and what was launched keeps the one it had."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime

from django.db import IntegrityError, transaction

from audit.actions import Value, record
from messaging.emails import check_email
from messaging.models import Template, TemplateVersion
from messaging.models.contacts import Channel
from messaging.rendering import MAX_TEXT, TemplateError, check_names, check_template
from shopsync.actions.refusals import InvalidInput

MAX_DEFAULTS = 100
MAX_DEFAULT = 500


class TemplateExists(InvalidInput):
    """The tenant has a template of this name, perhaps an archived one."""

    def __init__(self, name: str) -> None:
        sentence = f"There is a template called {name} already: take another name, or write its next version."
        super().__init__("name", sentence)


class TemplateArchived(Exception):  # noqa: N818
    """An archived template is not written any more."""


_VALUE = re.compile(r"\{\{.*?\}\}", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A version as it is written; `defaults` stand for values that a recipient has not, by name."""

    body: str
    subject: str = ""
    text: str = ""
    defaults: Mapping[str, str] = field(default_factory=dict)
    encodes_smartly: bool = True
    shortens_links: bool = True


def check(*, channel: str, draft: Draft) -> None:
    """Look whether a draft can be sent on a channel.

    Raises: TemplateError; its `field` is the draft's that is wrong.
    """
    if not draft.body.strip():
        raise TemplateError("the template says nothing", field="body")
    if len(draft.defaults) > MAX_DEFAULTS or any(len(value) > MAX_DEFAULT for value in draft.defaults.values()):
        sentence = f"{MAX_DEFAULTS} defaults of {MAX_DEFAULT} characters each are the most"
        raise TemplateError(sentence, field="defaults")
    if channel == Channel.EMAIL:
        check_email(subject=draft.subject, body=draft.body, text=draft.text, defaults=draft.defaults)
        for name in ("subject", "body", "text"):
            check_names(getattr(draft, name), is_html=name == "body", field=name)
        return
    for name in ("subject", "text"):
        if getattr(draft, name):
            raise TemplateError(f"only an e-mail has a {name}", field=name)
    check_template(draft.body, defaults=draft.defaults, field="body")
    check_names(draft.body, field="body")
    if "{%" not in draft.body and (length := len(_VALUE.sub("", draft.body))) > MAX_TEXT:
        raise TemplateError(f"it is {length} characters long without its values; {MAX_TEXT} is the most", field="body")


@transaction.atomic
def make_template(*, name: str, channel: str, draft: Draft, actor: str) -> TemplateVersion:
    """Make a template and its first version.

    Raises: TemplateError, TemplateExists.
    """
    check(channel=channel, draft=draft)
    template = Template(name=name, channel=channel)
    try:
        with transaction.atomic():
            template.save(force_insert=True)
    except IntegrityError as error:
        raise TemplateExists(name) from error
    return _add_version(template, number=1, draft=draft, actor=actor)


@transaction.atomic
def save_template(*, template_id: int, draft: Draft, actor: str) -> TemplateVersion:
    """Write the next version of a template; a draft that changes nothing returns the newest one.

    Raises: Template.DoesNotExist, TemplateArchived, TemplateError.
    """
    template = Template.objects.select_for_update().get(pk=template_id)
    if template.archived_at is not None:
        raise TemplateArchived(f"The template {template.name} is archived: make a new one.")
    check(channel=template.channel, draft=draft)
    newest = template.versions.order_by("-number").first()
    if newest is not None and draft_of(newest) == draft:
        return newest
    return _add_version(template, number=newest.number + 1 if newest else 1, draft=draft, actor=actor)


@transaction.atomic
def archive_template(*, template_id: int, actor: str, now: datetime) -> Template:
    """Offer a template no more; what uses one of its versions goes on with it. Archived twice is archived once.

    Raises: Template.DoesNotExist.
    """
    template = Template.objects.select_for_update().get(pk=template_id)
    if template.archived_at is None:
        template.archived_at = now
        template.save(update_fields=["archived_at"])
        record(name="template.archived", subject=f"template:{template.pk}", actor=actor, data={"name": template.name})
    return template


def draft_of(version: TemplateVersion) -> Draft:
    """Return a version as the draft that it was written from."""
    return Draft(**{name: getattr(version, name) for name in Draft.__slots__})


def _add_version(template: Template, *, number: int, draft: Draft, actor: str) -> TemplateVersion:
    version = TemplateVersion(template=template, number=number, **asdict(draft))
    version.save(force_insert=True)
    data: dict[str, Value] = {"name": template.name, "version": number}
    record(name="template.saved", subject=f"template:{template.pk}", actor=actor, data=data)
    return version
