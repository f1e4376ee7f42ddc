"""Paths of inventory."""

from __future__ import annotations

from typing import Any

from django.urls import path
from rest_framework.viewsets import ReadOnlyModelViewSet

from inventory import views

_DOORS: dict[str, type[ReadOnlyModelViewSet]] = {  # type: ignore[type-arg]
    "products": views.Products,
    "variants": views.Variants,
    "locations": views.Locations,
    "stock": views.Stock,
    "stock-movements": views.Movements,
}


def _methods(name: str) -> dict[str, Any]:
    return {"get": "retrieve"} | ({"patch": "partial_update"} if name == "locations" else {})


urlpatterns = [
    *(path(f"api/v1/{name}", view.as_view({"get": "list"}, detail=False)) for name, view in _DOORS.items()),
    *(path(f"api/v1/{name}/<int:pk>", view.as_view(_methods(name), detail=True)) for name, view in _DOORS.items()),
    path("api/v1/stock/receive", views.Stock.as_view({"post": "receive"}, detail=False)),
    path("api/v1/stock/expect", views.Stock.as_view({"post": "expect"}, detail=False)),
    path("api/v1/stock/adjust", views.Stock.as_view({"post": "adjust"}, detail=False)),
    path("api/v1/stock/transfer", views.Stock.as_view({"post": "transfer"}, detail=False)),
    path("api/v1/stock/thresholds", views.Thresholds.as_view({"get": "list", "post": "create"}, detail=False)),
    path(
        "api/v1/stock/thresholds/<int:pk>",
        views.Thresholds.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}, detail=True),
    ),
    path("api/v1/reservations", views.Reservations.as_view({"get": "list", "post": "create"}, detail=False)),
    path(
        "api/v1/reservations/<int:pk>",
        views.Reservations.as_view({"get": "retrieve", "delete": "destroy"}, detail=True),
    ),
    path("api/v1/reservations/<int:pk>/extend", views.Reservations.as_view({"post": "extend"}, detail=True)),
    path("api/v1/reservations/<int:pk>/commit", views.Reservations.as_view({"post": "commit"}, detail=True)),
]
