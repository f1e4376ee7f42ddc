"""Sign-up forms: owners' to keep."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminURLInputWidget

from messaging.actions.forms import FIELDS, save_form
from messaging.models import SignupForm
from messaging.models.contacts import Channel
from messaging.serializers.forms import CHANNELS, read_origin
from shopsync.admin.base import TenantModelAdmin, actor_of


class FormForm(forms.ModelForm):  # type: ignore[type-arg]
    """A sign-up form."""

    channels = forms.MultipleChoiceField(choices=Channel.choices, widget=forms.CheckboxSelectMultiple)
    text_shown = forms.CharField(
        max_length=5000, widget=UnfoldAdminTextareaWidget, help_text="what people agree to, word by word"
    )
    redirect_url = forms.URLField(
        max_length=500,
        required=False,
        assume_scheme="https",
        widget=UnfoldAdminURLInputWidget,
        help_text="where to go on to afterwards",
    )
    allowed_origins = forms.CharField(
        required=False, widget=UnfoldAdminTextareaWidget, help_text="one a line, e.g. https://shop.example.com"
    )

    class Meta:
        model = SignupForm
        fields = FIELDS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.initial["allowed_origins"] = "\n".join(self.instance.allowed_origins)

    def clean_name(self) -> str:
        """Refuse a name that is another's; the constraint would refuse it in its own words."""
        name = str(self.cleaned_data["name"])
        if SignupForm.objects.filter(name=name).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError("There is a form of this name already.")
        return name

    def clean_channels(self) -> list[str]:
        """Keep them in one order."""
        return [channel for channel in CHANNELS if channel in self.cleaned_data["channels"]]

    def clean_allowed_origins(self) -> list[str]:
        """Read one site a line."""
        lines = [line for line in self.cleaned_data["allowed_origins"].splitlines() if line.strip()]
        try:
            return [read_origin(line) for line in lines]
        except ValidationError as error:
            raise forms.ValidationError("Give sites without a path, e.g. https://shop.example.com.") from error


@admin.register(SignupForm)
class SignupFormAdmin(TenantModelAdmin):
    """Where strangers ask to be written to."""

    form = FormForm
    may_add = True
    list_display = ("name", "channels", "double_opt_in", "is_active", "created_at")
    list_filter = ("is_active",)
    settings_fields = FIELDS
    fields = (*FIELDS, "address", "created_at", "updated_at")
    readonly_fields = ("address",)

    @display(description="its page")
    def address(self, form: SignupForm) -> str:
        """Name the page, once there is one."""
        return f"{settings.PUBLIC_URL}/forms/{form.token}" if form.pk else "once it is saved"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Keep it as the API does."""
        pk = obj.pk if change else None
        values = {name: form.cleaned_data[name] for name in (form.changed_data if change else FIELDS)}
        obj.pk = save_form(form_id=pk, values=values, actor=actor_of(request), now=timezone.now()).pk
