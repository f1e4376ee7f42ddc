"""Paths of orders."""

from __future__ import annotations

from django.urls import path, re_path

from orders import views

urlpatterns = [
    path("api/v1/orders", views.Orders.as_view({"get": "list"}, detail=False)),
    path("api/v1/orders/<int:pk>", views.Orders.as_view({"get": "retrieve"}, detail=True)),
    re_path(r"^webhooks/easypost/(?P<token>[\w-]+)/?$", views.receive_easypost_event, name="receive-easypost-event"),
    path("api/v1/shipments", views.Shipments.as_view({"get": "list", "post": "create"}, detail=False)),
    path("api/v1/shipments/<int:pk>", views.Shipments.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/shipments/<int:pk>/rates", views.Shipments.as_view({"post": "rates"}, detail=True)),
    path("api/v1/shipments/<int:pk>/buy", views.Shipments.as_view({"post": "buy"}, detail=True)),
    path("api/v1/shipments/<int:pk>/void", views.Shipments.as_view({"post": "void"}, detail=True)),
    path("api/v1/shipments/<int:pk>/tracking", views.Shipments.as_view({"post": "tracking"}, detail=True)),
    path("api/v1/shipments/<int:pk>/label", views.Shipments.as_view({"get": "label"}, detail=True)),
]
