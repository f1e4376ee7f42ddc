"""Paths of inventory."""

from __future__ import annotations

from django.urls import path

from inventory import views

urlpatterns = [
    path("api/v1/products", views.Products.as_view({"get": "list"}, detail=False)),
    path("api/v1/products/<int:pk>", views.Products.as_view({"get": "retrieve"}, detail=True)),
]
