"""Paths of messaging."""

from __future__ import annotations

from django.urls import path, re_path

from messaging.views import contacts, messages, webhooks

urlpatterns = [
    re_path(r"^webhooks/mitto/dlr/(?P<token>[\w-]+)/?$", webhooks.receive_mitto_report, name="receive-mitto-report"),
    path("api/v1/contacts", contacts.Contacts.as_view({"get": "list"}, detail=False)),
    path("api/v1/contacts/<int:pk>", contacts.Contacts.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/messages", messages.Messages.as_view({"get": "list"}, detail=False)),
    path("api/v1/messages/<int:pk>", messages.Messages.as_view({"get": "retrieve"}, detail=True)),
]
