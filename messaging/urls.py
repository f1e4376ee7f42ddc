"""Paths of messaging."""

from __future__ import annotations

from django.urls import path, re_path

from messaging import views

urlpatterns = [
    re_path(r"^webhooks/mitto/dlr/(?P<token>[\w-]+)/?$", views.receive_mitto_report, name="receive-mitto-report"),
    path("api/v1/contacts", views.Contacts.as_view({"get": "list"}, detail=False)),
    path("api/v1/contacts/<int:pk>", views.Contacts.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/messages", views.Messages.as_view({"get": "list"}, detail=False)),
    path("api/v1/messages/<int:pk>", views.Messages.as_view({"get": "retrieve"}, detail=True)),
]
