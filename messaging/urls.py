"""Paths of messaging."""

from __future__ import annotations

from django.urls import path, re_path

from messaging.views import campaigns, contacts, messages, webhooks
from messaging.views.credits import Balance, Policy, Transactions

urlpatterns = [
    re_path(r"^webhooks/mitto/dlr/(?P<token>[\w-]+)/?$", webhooks.receive_mitto_report, name="receive-mitto-report"),
    path("api/v1/contacts", contacts.Contacts.as_view({"get": "list"}, detail=False)),
    path("api/v1/contacts/<int:pk>", contacts.Contacts.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/campaigns", campaigns.Campaigns.as_view({"get": "list", "post": "create"}, detail=False)),
    path("api/v1/campaigns/<int:pk>", campaigns.Campaigns.as_view({"get": "retrieve", "put": "update"}, detail=True)),
    *(
        path(f"api/v1/campaigns/<int:pk>/{word}", campaigns.Campaigns.as_view({"post": method}, detail=True))
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
    path("api/v1/messages/<int:pk>/resend", messages.Messages.as_view({"post": "resend"}, detail=True)),
    path("api/v1/messages/<int:pk>/settle", messages.Messages.as_view({"post": "settle"}, detail=True)),
    path("api/v1/messages", messages.Messages.as_view({"get": "list", "post": "create"}, detail=False)),
    path("api/v1/messages/<int:pk>", messages.Messages.as_view({"get": "retrieve"}, detail=True)),
]
