"""Paths of orders."""

from __future__ import annotations

from django.urls import path

from orders import views

urlpatterns = [
    path("api/v1/orders", views.Orders.as_view({"get": "list"}, detail=False)),
    path("api/v1/orders/<int:pk>", views.Orders.as_view({"get": "retrieve"}, detail=True)),
]
