"""Every path there is; the public surface is listed in docs/api.md."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from config import health
from shopsync.views import server_error

urlpatterns = [
    path("", include("shopsync.urls")),
    path("", include("audit.urls")),
    path("", include("inventory.urls")),
    path("", include("orders.urls")),
    path("", include("messaging.urls")),
    path("live", health.live),
    path("ready", health.ready),
    path("health", health.health),
    path("health/liveness", health.live),
    path("health/readiness", health.ready),
    path("health/workers", health.workers),
    path("admin/", admin.site.urls),
]
handler400 = "shopsync.views.bad_request"
handler404 = "shopsync.views.not_found"
handler500 = server_error
