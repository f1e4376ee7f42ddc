"""Order watches: how long orders may wait before somebody is told, an owner's to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from orders.actions.watches import change_watch, make_watch, remove_watch
from orders.models import OrderWatch
from shopsync.admin.base import TenantModelAdmin, actor_of


class WatchForm(forms.ModelForm):  # type: ignore[type-arg]
    """A watch; of each kind there is one."""

    class Meta:
        model = OrderWatch
        fields = ("kind", "hours")

    def clean(self) -> dict[str, Any]:
        """Refuse a second one in words; the constraint would refuse it in its own."""
        values = super().clean() or {}
        if self.instance.pk is None and OrderWatch.objects.filter(kind=values.get("kind", "")).exists():
            raise forms.ValidationError("There is a watch of this kind already: change its hours.")
        return values


@admin.register(OrderWatch)
class OrderWatchAdmin(TenantModelAdmin):
    """How long orders may wait."""

    form = WatchForm
    may_add = True
    list_display = ("kind", "hours", "created_at")
    settings_fields = ("kind", "hours")
    fields = ("kind", "hours", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Sequence[str]:
        """Lock the kind once the watch is made."""
        return ("created_at",) if obj is None else ("kind", "created_at")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A watch may be taken away; the trail keeps what it was."""
        return self.has_configure_permission(request)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Make or change it as the API does."""
        if change:
            change_watch(watch_id=obj.pk, hours=obj.hours, actor=actor_of(request))
        else:
            obj.pk = make_watch(kind=obj.kind, hours=obj.hours, actor=actor_of(request)).pk

    def delete_model(self, request: HttpRequest, obj: OrderWatch) -> None:
        """Take it away as the API does."""
        remove_watch(watch_id=obj.pk, actor=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[OrderWatch]) -> None:
        """Take the chosen ones away."""
        for watch_id in sorted(queryset.values_list("pk", flat=True)):
            remove_watch(watch_id=watch_id, actor=actor_of(request))
