"""Paths of messaging."""

from __future__ import annotations

from django.urls import path, re_path

from messaging.views import contacts, links, messages, templates, unsubscribes, webhooks

urlpatterns = [
    re_path(r"^webhooks/mitto/dlr/(?P<token>[\w-]+)/?$", webhooks.receive_mitto_report, name="receive-mitto-report"),
    re_path(r"^webhooks/email/(?P<token>[\w-]+)/?$", webhooks.receive_email_event, name="receive-email-event"),
    path("u/<str:token>", unsubscribes.unsubscribe_page, name="unsubscribe"),
    path("l/<str:code>", links.follow_link, name="short-link"),
    path("api/v1/templates", templates.Templates.as_view({"get": "list", "post": "create"}, detail=False)),
    path(
        "api/v1/templates/<int:pk>",
        templates.Templates.as_view({"get": "retrieve", "put": "update", "patch": "partial_update"}, detail=True),
    ),
    path("api/v1/templates/<int:pk>/archive", templates.Templates.as_view({"post": "archive"}, detail=True)),
    path("api/v1/templates/<int:pk>/preview", templates.Templates.as_view({"post": "preview"}, detail=True)),
    path("api/v1/contacts", contacts.Contacts.as_view({"get": "list"}, detail=False)),
    path("api/v1/contacts/<int:pk>", contacts.Contacts.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/messages", messages.Messages.as_view({"get": "list"}, detail=False)),
    path("api/v1/messages/<int:pk>", messages.Messages.as_view({"get": "retrieve"}, detail=True)),
]
