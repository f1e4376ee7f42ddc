"""Paths of orders."""

from __future__ import annotations

from django.urls import path, re_path

from orders import views

urlpatterns = [
    re_path(r"^webhooks/stripe/(?P<token>[\w-]+)/?$", views.receive_stripe_event, name="receive-stripe-event"),
    path("api/v1/orders", views.Orders.as_view({"get": "list"}, detail=False)),
    path("api/v1/orders/<int:pk>", views.Orders.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/payments", views.Payments.as_view({"get": "list"}, detail=False)),
    path("api/v1/payments/<int:pk>", views.Payments.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/payments/<int:pk>/refunds", views.Payments.as_view({"post": "refund"}, detail=True)),
    path("api/v1/payments/mismatches", views.Mismatches.as_view({"get": "list"}, detail=False)),
    path("api/v1/payments/mismatches/<int:pk>", views.Mismatches.as_view({"get": "retrieve"}, detail=True)),
]
