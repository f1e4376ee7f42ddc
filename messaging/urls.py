"""Paths of messaging."""

from __future__ import annotations

from django.urls import re_path

from messaging import views

urlpatterns = [
    re_path(r"^webhooks/mitto/dlr/(?P<token>[\w-]+)/?$", views.receive_mitto_report, name="receive-mitto-report"),
]
