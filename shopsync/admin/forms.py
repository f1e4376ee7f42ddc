"""Forms of the pages on which operators act, and the actions on a row that open them."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.db import models
from django.forms.fields import InvalidJSONInput
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action

from config.infra import tenancy
from shopsync.actions.idempotency import KeyUsed, run_once
from shopsync.admin.base import TenantModelAdmin
from shopsync.serializers import name_allowed
from shopsync.storing import MAX_DEPTH, is_storable

_PLAIN = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class _Plain(forms.Field):
    def to_python(self, value: Any) -> Any:
        """Read a number in plain digits; Python would take `1e3` and `1_0` as well."""
        if isinstance(value, str) and value.strip() and not _PLAIN.fullmatch(value.strip()):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)


class PlainDecimalField(_Plain, forms.DecimalField):
    """A decimal in plain digits."""


class PlainIntegerField(_Plain, forms.IntegerField):
    """A whole number in plain digits."""


class StorableJSONField(forms.JSONField):
    """JSON that the database can keep; what Python can't read, or it can't keep, is refused and shown as it came."""

    default_error_messages = {
        "unstorable": f"This can't be kept: it is nested more than {MAX_DEPTH} deep, or holds a number of thousands of"
        " digits or that is none, a NUL character, or half of a surrogate pair. Take that out."
    }

    def to_python(self, value: Any) -> Any:
        """Read it."""
        try:
            found = super().to_python(value)
        except (ValueError, RecursionError) as error:  # of numbers and nesting that are beyond Python's limits
            raise forms.ValidationError(self.error_messages["unstorable"], code="unstorable") from error
        if not is_storable(found):
            raise forms.ValidationError(self.error_messages["unstorable"], code="unstorable")
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Show what was sent again."""
        try:
            found = super().bound_data(data, initial)
        except (ValueError, RecursionError):
            return InvalidJSONInput(data)
        return found if is_storable(found) else InvalidJSONInput(data)


class KeyedForm(forms.Form):
    """A form whose key is made with its page, so that a page that is sent twice does its work once."""

    key = forms.CharField(max_length=64, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, files: Any = None, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data or None, files or None, initial={"key": f"admin-{uuid.uuid4()}", **(initial or {})})
        name_allowed(self.fields.values())

    def given(self) -> dict[str, Any]:
        """Return what was filled in."""
        return {name: value for name, value in self.cleaned_data.items() if name != "key"}

    def digest(self) -> str:
        """Name what was asked for: the same key may not stand for something else."""
        asked = {name: str(value) for name, value in self.given().items()}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def refuse(self, error: Exception) -> None:
        """Show why an action was refused, beside the field that it names if there is one."""
        named = getattr(error, "field", "")
        self.add_error(named if named in self.fields else None, str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page that asks before something is done: its words, its form, and what is done once it is sent."""

    title: str
    sentences: tuple[str, ...]
    button: str
    done: str
    form: KeyedForm
    run: Callable[[], object]


def row_action(
    description: str, *, path: str, icon: str, permission: str = "act"
) -> Callable[[Callable[..., HttpResponseBase]], Any]:
    """Declare an action of a row's page: it gets the row, and runs with the row's own tenant in scope.

    With all tenants open there is no tenant to write for; the row says whose it is.
    """

    def decorate(method: Callable[..., HttpResponseBase]) -> Any:
        @action(description=description, url_path=path, icon=icon, permissions=[permission])
        @functools.wraps(method)
        def run(self: TenantModelAdmin, request: HttpRequest, object_id: str) -> HttpResponseBase:
            row = self.get_object(request, object_id)
            if row is None:
                raise Http404
            with tenancy.tenant_scope(row.tenant_id):
                return method(self, request, row)

        return run

    return decorate


class ActingAdmin(TenantModelAdmin):
    """Rows that operators act on, as they stand; `refusals` are the exceptions whose sentences are for them."""

    refusals: tuple[type[Exception], ...] = ()

    def offered(self, row: Any) -> Collection[str]:
        """Name the actions that make sense of a row as it stands; the others are not shown, and would be refused."""
        return self._extract_action_names(self.actions_detail)  # type: ignore[no-any-return]  # unfold is untyped

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        """Show the actions that the person may run and the row offers."""
        allowed: list[UnfoldAction] = super().get_actions_detail(request, object_id)
        row = self.get_object(request, str(object_id)) if allowed and object_id is not None else None
        if row is None:
            return allowed
        names = {f"{self.opts.app_label}_{self.opts.model_name}_{name}" for name in self.offered(row)}
        return [one for one in allowed if one.action_name in names]

    def ask(self, request: HttpRequest, row: models.Model, page: Page) -> HttpResponse:
        """Show the page; once it is sent, do what it says, once, and go back to the row.

        A refusal stays on a page that has something to fill in; from a mere question it goes back, with its sentence.
        """
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        back = reverse(name, args=[row.pk])
        if request.method == "POST" and page.form.is_valid():
            refusal = self._run(request, page)
            if refusal is None:
                return HttpResponseRedirect(back)
            if not page.form.visible_fields():
                self.message_user(request, str(refusal), messages.ERROR)
                return HttpResponseRedirect(back)
            page.form.refuse(refusal)
        words = {"sentences": page.sentences, "button": page.button, "form": page.form}
        return self.confirm(request, page.title, back=back, **words)

    def _run(self, request: HttpRequest, page: Page) -> Exception | None:
        """Do it once; return the refusal, if it is one."""
        key, digest = page.form.cleaned_data["key"], page.form.digest()
        try:
            is_new = run_once(scope=request.path[:100], key=key, digest=digest, run=page.run)
        except KeyUsed as error:
            return error
        except self.refusals as error:
            return error
        if is_new:
            self.message_user(request, page.done, messages.SUCCESS)
        else:
            self.message_user(request, "This page was sent before: nothing was done a second time.", messages.INFO)
        return None
