"""Paths of the inbox."""

from __future__ import annotations

from django.urls import path, re_path

from shopsync import views

urlpatterns = [
    path("webhooks/shopify", views.receive_shopify, name="receive-shopify"),
    re_path(r"^webhooks/shopify/(?P<topic>[a-z_.]+(?:/[a-z_]+)?)?/?$", views.receive_shopify),
]
