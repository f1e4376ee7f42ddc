"""Paths of orders."""

from __future__ import annotations

from django.urls import path, re_path

from orders import views

_ACTS = {
    "mark-paid": "mark_paid",
    "capture": "capture",
    "allocate": "allocate",
    "cancel": "cancel",
    "refunds": "refund",
    "hold": "hold",
    "unhold": "unhold",
    "counted": "note_counted",
}

urlpatterns = [
    re_path(r"^webhooks/stripe/(?P<token>[\w-]+)/?$", views.receive_stripe_event, name="receive-stripe-event"),
    path("api/v1/orders", views.Orders.as_view({"get": "list", "post": "create"}, detail=False)),
    path("api/v1/orders/<int:pk>", views.Orders.as_view({"get": "retrieve", "patch": "partial_update"}, detail=True)),
    path("api/v1/orders/<int:pk>/timeline", views.Orders.as_view({"get": "timeline"}, detail=True)),
    *(
        path(f"api/v1/orders/<int:pk>/{word}", views.Orders.as_view({"post": method}, detail=True))
        for word, method in _ACTS.items()
    ),
    path("api/v1/stock/hand-over", views.HandOver.as_view({"post": "create"})),
    path("api/v1/orders/watches", views.Watches.as_view({"get": "list", "post": "create"}, detail=False)),
    path(
        "api/v1/orders/watches/<int:pk>",
        views.Watches.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}, detail=True),
    ),
    path("api/v1/payments", views.Payments.as_view({"get": "list"}, detail=False)),
    path("api/v1/payments/<int:pk>", views.Payments.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/payments/<int:pk>/refunds", views.Payments.as_view({"post": "refund"}, detail=True)),
    path("api/v1/payments/mismatches", views.Mismatches.as_view({"get": "list"}, detail=False)),
    path("api/v1/payments/mismatches/<int:pk>", views.Mismatches.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/payments/mismatches/<int:pk>/accept", views.Mismatches.as_view({"post": "accept"}, detail=True)),
    re_path(r"^webhooks/easypost/(?P<token>[\w-]+)/?$", views.receive_easypost_event, name="receive-easypost-event"),
    path("api/v1/shipments", views.Shipments.as_view({"get": "list", "post": "create"}, detail=False)),
    path("api/v1/shipments/<int:pk>", views.Shipments.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/shipments/<int:pk>/rates", views.Shipments.as_view({"post": "rates"}, detail=True)),
    path("api/v1/shipments/<int:pk>/buy", views.Shipments.as_view({"post": "buy"}, detail=True)),
    path("api/v1/shipments/<int:pk>/void", views.Shipments.as_view({"post": "void"}, detail=True)),
    path("api/v1/shipments/<int:pk>/tracking", views.Shipments.as_view({"post": "tracking"}, detail=True)),
    path("api/v1/shipments/<int:pk>/label", views.Shipments.as_view({"get": "label"}, detail=True)),
]
