"""Finds the admin's pages from its registry, so that a new model can't be forgotten."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse

from tests.world import World

REGISTERED = sorted(admin.site._registry, key=lambda model: model._meta.label)
HOUSE = {"messaging.Price", "messaging.SendLimit"}  # the installation's own: superusers' only, as beat's schedules are
MODELS = [
    model for model in REGISTERED if model._meta.app_label != "django_celery_beat" and model._meta.label not in HOUSE
]


def list_page(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def change_page(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(row.pk)])


def change_pages(world: World) -> list[str]:
    return [change_page(world.rows[model]) for model in MODELS if model in world.rows]
