"""Paths of audit."""

from __future__ import annotations

from django.urls import path

from audit import views

urlpatterns = [
    path("api/v1/audit-events", views.AuditEvents.as_view({"get": "list"}, detail=False)),
    path("api/v1/audit-events/<int:pk>", views.AuditEvents.as_view({"get": "retrieve"}, detail=True)),
]
