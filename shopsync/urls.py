"""Paths of the inbox, of alerts, of sign-in, and of the API's own description."""

from __future__ import annotations

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from shopsync import views

urlpatterns = [
    path("webhooks/shopify", views.receive_shopify, name="receive-shopify"),
    re_path(r"^webhooks/shopify/(?P<topic>[a-z_.]+(?:/[a-z_]+)?)?/?$", views.receive_shopify),
    path("api/v1/auth/token", views.issue_token, name="issue-token"),
    path("api/v1/auth/refresh", views.refresh_token, name="refresh-token"),
    path("api/v1/webhook-events", views.WebhookEvents.as_view({"get": "list"}, detail=False)),
    path("api/v1/webhook-events/<int:pk>", views.WebhookEvents.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/alerts", views.Alerts.as_view({"get": "list"}, detail=False)),
    path("api/v1/alerts/<int:pk>", views.Alerts.as_view({"get": "retrieve"}, detail=True)),
    path("api/v1/alerts/<int:pk>/acknowledge", views.Alerts.as_view({"post": "acknowledge"}, detail=True)),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
]
