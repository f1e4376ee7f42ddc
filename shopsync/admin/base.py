"""What every admin of tenant data inherits: the role decides what may be done, the scope decides what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import DataError, IntegrityError, models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline

from audit.actions import record
from config.infra import tenancy
from shopsync.actions.refusals import InvalidInput
from shopsync.serializers import name_allowed
from shopsync.sites import scope_of

SHOWN = "shown"  # the hidden field of shown.html
OUTDATED = "Somebody changed this since the page was opened, and nothing was saved: open it anew, and change it there."
STATUS_COLOURS = {
    "ready": "info", "leased": "info", "done": "success", "unknown": "warning", "buried": "danger",
    "quarantined": "warning",
}  # fmt: skip


def actor_of(request: HttpRequest) -> str:
    """Name the person for the trail."""
    return f"user:{request.user.pk}"


def in_zone(words: str) -> str:
    """Add to what is said of a time the zone that it is read and shown in."""
    return f"{words}{'; ' if words else ''}in the zone {timezone.get_current_timezone_name()}"


class TenantForm(forms.ModelForm):  # type: ignore[type-arg]
    """A row of the tenant in scope: what there may be one of in a tenant is looked for before it is saved."""

    def _post_clean(self) -> None:
        if "tenant" in {field.name for field in self._meta.model._meta.fields} and self.instance.tenant_id is None:
            self.instance.tenant_id = tenancy.tenant_id_or_none()
        super()._post_clean()  # type: ignore[misc]  # not in the stubs

    def _get_validation_exclusions(self) -> set[str]:
        return super()._get_validation_exclusions() - {"tenant"}  # type: ignore[misc,no-any-return]

    def _update_errors(self, errors: ValidationError) -> None:
        """Show a second row of what there may be one of beside the field that tells the two apart, and what else is
        wrong with the tenant's column, which is no field, above the form."""
        told: dict[str, list[ValidationError]] = {}
        for name, found in errors.update_error_dict({}).items():
            for error in found:
                place, worded = self._placed(name, error)
                told.setdefault(place, []).append(worded)
        super()._update_errors(ValidationError(told))  # type: ignore[misc]

    def _placed(self, name: str, error: ValidationError) -> tuple[str, ValidationError]:
        if name == "tenant" and name not in self.fields:
            return NON_FIELD_ERRORS, error
        columns = [one for one in (error.params or {}).get("unique_check", ()) if one in self.fields]
        if name != NON_FIELD_ERRORS or error.code != "unique_together" or not columns:
            return name, error
        labels = " and ".join(str(self.fields[one].label or one).lower() for one in columns)
        noun = self._meta.model._meta.verbose_name
        return columns[-1], ValidationError(f"There is a {noun} of this {labels} already.", code="unique_together")


class FreshForm:
    """Stands before a change form: knows what its page showed, and refuses to take back what was changed since."""

    instance: models.Model
    data: Any
    initial: Any

    @property
    def shown(self) -> str:
        """What the page showed when it was opened, as a keyed digest that tells nothing of it; empty for a new row."""
        return str(self.data.get(SHOWN, "")) if self.data else self._digest()

    def _digest(self) -> str:
        values = repr(sorted(self.initial.items()))
        return salted_hmac(SHOWN, values.encode("utf-8", "replace")).hexdigest() if self.instance.pk is not None else ""

    def clean(self) -> Any:
        """Refuse what was filled in on an older page."""
        values = super().clean()  # type: ignore[misc]  # of the form behind it
        if self.shown and self.shown != self._digest():
            raise ValidationError(OUTDATED)
        return values


class RacedAdmin(ModelAdmin):
    """Rows that two people may write at once."""

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """Add or change. What is refused only as it is written, because somebody was faster, is looked at once more: by
        now the form sees what they wrote, and says so beside its field."""
        try:
            return super().changeform_view(request, *args, **options)
        except (IntegrityError, InvalidInput):
            try:
                return super().changeform_view(request, *args, **options)
            except InvalidInput as error:
                self.message_user(request, str(error), messages.ERROR)
                return HttpResponseRedirect(request.get_full_path())


class TenantModelAdmin(RacedAdmin):
    """Rows of the scope, read-only unless `settings_fields` names what an owner may change.

    viewer: sees; operator: sees and runs actions; owner: that, and changes settings. A superuser is everybody's owner.
    """

    form: type[forms.ModelForm[Any]] = TenantForm
    settings_fields: Sequence[str] = ()
    may_add = False
    change_form_before_template = "shopsync/admin/shown.html"
    show_full_result_count = False
    list_per_page = 50
    actions_selection_counter = True

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Filter by declared filters and ids only: by any column, a secret could be guessed letter by letter."""
        names = ["id", "pk"]
        for item in self.list_filter:
            column = item if isinstance(item, str) else item[0] if isinstance(item, tuple) else ""
            names.append(column or getattr(item, "parameter_name", ""))
        return any(lookup == name or lookup.startswith(f"{name}__") for name in names if name)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Build the list; a filter by what no column can be compared with leads back to the whole of it."""
        try:
            found: ChangeList = super().get_changelist_instance(request)
        except DataError as error:
            raise IncorrectLookupParameters(str(error)) from error
        return found

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Find a row; there is none by an id that no column can hold."""
        return None if "\x00" in object_id else super().get_object(request, object_id, from_field)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Is a tenant (or all of them) open?"""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Everybody sees what is in scope; the manager takes care of the rest."""
        scope = scope_of(request)
        return bool(scope.role) and (scope.is_all or scope.tenant_id is not None)

    def has_act_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Operators and owners run actions."""
        return self.has_view_permission(request) and scope_of(request).role in {"operator", "owner"}

    def has_configure_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Owners change settings, of one tenant at a time."""
        return scope_of(request).role == "owner" and scope_of(request).tenant_id is not None

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Are there settings here, and is this an owner?"""
        return bool(self.settings_fields) and self.has_configure_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """May rows of this kind be made by hand at all, and is this an owner?"""
        return self.may_add and self.has_configure_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Nothing disappears."""
        return False

    def get_list_display(self, request: HttpRequest) -> Sequence[str]:
        """Say whose a row is where all tenants are shown together."""
        columns = list(super().get_list_display(request))
        has_tenant = any(field.name == "tenant" for field in self.opts.fields)
        return [*columns, "tenant"] if scope_of(request).is_all and has_tenant else columns

    def get_list_select_related(self, request: HttpRequest) -> Sequence[str]:
        """Fetch the tenants shown along with the rows."""
        related = list(super().get_list_select_related(request) or [])
        return [*related, "tenant"] if "tenant" in self.get_list_display(request) else related

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> Sequence[str]:
        """Lock every field that is no setting."""
        fields = [name for name in super().get_readonly_fields(request, obj) if name not in self.settings_fields]
        shown = [field.name for field in self.opts.fields if field.editable and field.name not in self.settings_fields]
        return [*fields, *(name for name in shown if name not in fields)]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        """Let the form of a row refuse what was filled in before somebody else changed it."""
        form = super().get_form(request, obj, change, **options)
        return type(form)(form.__name__, (FreshForm, form), {})

    def formfield_for_dbfield(self, db_field: models.Field[Any, Any], request: HttpRequest, **options: Any) -> Any:
        """Say of a time to fill in of which zone it is, and of a choice what there is."""
        field = super().formfield_for_dbfield(db_field, request, **options)
        name_allowed([field] if field is not None else [])
        if isinstance(db_field, models.DateTimeField) and field is not None:
            field.help_text = in_zone(str(field.help_text))
        return field

    def get_fieldsets(self, request: HttpRequest, obj: models.Model | None = None) -> Any:
        """Show of a new row what there is to fill in: the rest has no value yet."""
        found = super().get_fieldsets(request, obj)
        if obj is not None:
            return found
        locked = self.get_readonly_fields(request)
        return [(None, {"fields": [name for name in flatten_fieldsets(found) if name not in locked]})]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save only what was changed, and record that it was, and by whom."""
        columns = {field.name for field in self.opts.fields}
        changed = [name for name in self.changed_columns(form) if name in columns]
        obj.save(update_fields=changed) if change else obj.save()
        noun = str(self.opts.verbose_name).replace(" ", "_").lower()
        name = f"{noun}.{'updated' if change else 'created'}"
        tenant_id = obj.pk if noun == "tenant" else getattr(obj, "tenant_id", None)
        values: dict[str, Any] = {"fields": sorted(changed)}
        if tenant_id is None:
            record(name=name, subject=f"{noun}:{obj.pk}", actor=actor_of(request), data=values)
            return
        with tenancy.tenant_scope(tenant_id):
            record(name=name, subject=f"{noun}:{obj.pk}", actor=actor_of(request), data=values)

    def changed_columns(self, form: Any) -> list[str]:
        """Name the columns that a form changed."""
        return list(form.changed_data)

    def confirm(self, request: HttpRequest, title: str, **context: Any) -> HttpResponse:
        """Ask before something is done (sentences, button, hidden, form), or show a secret once (shown_once)."""
        page = {**self.admin_site.each_context(request), "opts": self.opts, "title": title, **context}
        return TemplateResponse(request, "shopsync/admin/confirm.html", page)


class ReadOnlyInline(TabularInline):
    """Rows that hang on another, as they are."""

    extra = 0
    max_num = 0
    can_delete = False
    tab = True

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Whoever sees the row sees what hangs on it."""
        return True

    def has_add_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """No."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """No."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """No."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: models.Model | None = None) -> Sequence[str]:
        """Lock all of it."""
        return list(self.fields or ())


class ByIdFilter(admin.SimpleListFilter):
    """Rows of one other row, chosen by a link (`column` names it): not offered, but shown once it is chosen."""

    column = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer what is chosen, if something is."""
        chosen = self.value()
        return [(chosen, f"{self.title} {chosen}"[:40])] if chosen else []

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Choose by the id; what is no id has no rows."""
        chosen = self.value() or ""
        if not chosen:
            return queryset
        is_id = chosen.isascii() and chosen.isdigit() and len(chosen) <= 18
        return queryset.filter(**{self.column: int(chosen)}) if is_id else queryset.none()


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> SafeString:
    """Show rows that are no model's own inline."""
    return render_to_string("unfold/components/table.html", {"table": {"headers": headers, "rows": rows}})


def pre(text: str) -> SafeString:
    """Show text as it is, in lines of their own, with a scroll bar when it is wide."""
    classes = "bg-base-50 border border-base-200 max-h-96 overflow-auto p-3 rounded-default whitespace-pre text-xs "
    classes += "dark:bg-base-800 dark:border-base-700"
    return format_html('<pre class="{}">{}</pre>', classes, text)
