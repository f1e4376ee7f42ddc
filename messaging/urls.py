"""Paths of messaging."""

from __future__ import annotations

from typing import Any

from django.urls import path, re_path

from messaging.views import (
    campaigns,
    contacts,
    forms,
    imports,
    limits,
    links,
    messages,
    policies,
    replies,
    segments,
    suppressions,
    templates,
    unsubscribes,
    webhooks,
)
from messaging.views.credits import Balance, Policy, Transactions

_read: dict[str, Any] = {"get": "list", "post": "create"}
_one: dict[str, Any] = {"get": "retrieve", "patch": "partial_update"}
_contacts, _imports, _forms = contacts.Contacts, imports.Imports, forms.Forms
_segments, _suppressions = segments.Segments, suppressions.Suppressions
_campaigns, _messages, _templates = campaigns.Campaigns, messages.Messages, templates.Templates
_replies = replies.Replies

urlpatterns = [
    re_path(r"^webhooks/mitto/dlr/(?P<token>[\w-]+)/?$", webhooks.receive_mitto_report, name="receive-mitto-report"),
    re_path(r"^webhooks/mitto/inbound/(?P<token>[\w-]+)/?$", webhooks.receive_mitto_reply, name="receive-mitto-reply"),
    re_path(r"^webhooks/email/(?P<token>[\w-]+)/?$", webhooks.receive_email_event, name="receive-email-event"),
    path("u/<str:token>", unsubscribes.unsubscribe_page, name="unsubscribe"),
    path("l/<str:code>", links.follow_link, name="short-link"),
    path("api/v1/templates", _templates.as_view(_read, detail=False)),
    path(
        "api/v1/templates/<int:pk>",
        _templates.as_view({"get": "retrieve", "put": "update", "patch": "partial_update"}, detail=True),
    ),
    path("api/v1/templates/<int:pk>/archive", _templates.as_view({"post": "archive"}, detail=True)),
    path("api/v1/templates/<int:pk>/preview", _templates.as_view({"post": "preview"}, detail=True)),
    path("forms/confirm/<str:token>", forms.confirm, name="confirm-consent"),
    re_path(r"^forms/(?P<token>[\w-]+)$", forms.sign_up, name="signup-form"),
    path("api/v1/contacts", _contacts.as_view(_read, detail=False)),
    path("api/v1/contacts/export", contacts.ContactExport.as_view(), name="export-contacts"),
    path("api/v1/contacts/imports", _imports.as_view(_read, detail=False)),
    path("api/v1/contacts/imports/<int:pk>", _imports.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/contacts/imports/<int:pk>/problems", _imports.as_view({"get": "problems"}, detail=True)),
    path("api/v1/contacts/forms", _forms.as_view(_read, detail=False)),
    path("api/v1/contacts/forms/<int:pk>", _forms.as_view(_one, detail=True)),
    path("api/v1/contacts/<int:pk>", _contacts.as_view(_one, detail=True)),
    path("api/v1/contacts/<int:pk>/consents", _contacts.as_view({"get": "consents", "post": "state"}, detail=True)),
    path("api/v1/segments", _segments.as_view(_read, detail=False)),
    path("api/v1/segments/preview", _segments.as_view({"post": "preview"}, detail=False)),
    path("api/v1/segments/<int:pk>", _segments.as_view({**_one, "delete": "destroy"}, detail=True)),
    path("api/v1/segments/<int:pk>/count", _segments.as_view({"get": "count"}, detail=True)),
    path("api/v1/segments/<int:pk>/sample", _segments.as_view({"get": "sample"}, detail=True, pagination_class=None)),
    path(
        "api/v1/segments/<int:pk>/members", _segments.as_view({"get": "list_members", "post": "members"}, detail=True)
    ),
    path("api/v1/segments/<int:pk>/upload", _segments.as_view({"post": "upload"}, detail=True)),
    path("api/v1/suppressions", _suppressions.as_view(_read, detail=False)),
    path("api/v1/suppressions/<int:pk>", _suppressions.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/suppressions/<int:pk>/lift", _suppressions.as_view({"post": "lift"}, detail=True)),
    path("api/v1/campaigns", _campaigns.as_view(_read, detail=False)),
    path(
        "api/v1/campaigns/<int:pk>",
        _campaigns.as_view({"get": "retrieve", "put": "update", "delete": "destroy"}, detail=True),
    ),
    *(
        path(f"api/v1/campaigns/<int:pk>/{word}", _campaigns.as_view({"post": method}, detail=True))
        for word, method in (
            ("preflight", "preflight"),
            ("test", "test_send"),
            ("launch", "launch"),
            ("pause", "pause"),
            ("resume", "resume"),
            ("cancel", "cancel"),
        )
    ),
    path("api/v1/credits", Balance.as_view()),
    path("api/v1/credits/policy", Policy.as_view()),
    path("api/v1/credits/transactions", Transactions.as_view({"get": "list"}, detail=False)),
    path("api/v1/credits/transactions/<int:pk>", Transactions.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/prices", limits.Prices.as_view()),
    path("api/v1/send-limits", limits.Limits.as_view()),
    path("api/v1/send-queues", limits.SendQueues.as_view({"get": "list"}, detail=False)),
    path("api/v1/send-queues/<int:pk>", limits.SendQueues.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/senders", policies.Senders.as_view(_read, detail=False)),
    path("api/v1/senders/<int:pk>", policies.Senders.as_view(_one, detail=True)),
    path("api/v1/quiet-hours", policies.Hours.as_view(_read, detail=False)),
    path("api/v1/quiet-hours/<int:pk>", policies.Hours.as_view({**_one, "delete": "destroy"}, detail=True)),
    path("api/v1/sending-policy", policies.Sending.as_view()),
    path("api/v1/messages/<int:pk>/resend", _messages.as_view({"post": "resend"}, detail=True)),
    path("api/v1/messages/<int:pk>/settle", _messages.as_view({"post": "settle"}, detail=True)),
    path("api/v1/replies", _replies.as_view({"get": "list"}, detail=False)),
    path("api/v1/replies/<int:pk>", _replies.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/replies/<int:pk>/decide", _replies.as_view({"post": "decide"}, detail=True)),
    path("api/v1/replies/<int:pk>/assign", _replies.as_view({"post": "assign"}, detail=True)),
    path("api/v1/messages", _messages.as_view(_read, detail=False)),
    path("api/v1/messages/<int:pk>", _messages.as_view({"get": "retrieve"}, detail=True)),
]
