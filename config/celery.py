"""The Celery app: its messages only say that there is work, so they may be lost, doubled or late."""

from __future__ import annotations

import os
import threading
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
if "SHOPSYNC_PROCESS" not in os.environ:
    os.environ["SHOPSYNC_PROCESS"] = ""

from celery import Celery, signals
from django.conf import settings
from django.db import close_old_connections

from config.infra.broker import ConnectAnew
from config.infra.heartbeat import beat_heart

app = Celery("shopsync")
app.conf.update(
    broker_url=settings.REDIS_URL,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"max_retries": 0, "socket_connect_timeout": 1, "visibility_timeout": 3600},
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0},
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_default_queue="maintenance",
    task_time_limit=300,
    task_soft_time_limit=240,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    timezone="UTC",
    result_expires=None,  # or beat would schedule a clean-up of results that nobody keeps
    beat_scheduler="config.infra.beat:Scheduler",  # rows: shopsync.actions.schedules
    beat_max_loop_interval=5,
)
# Celery closes Django's connection around every task unless told otherwise; connections are checked below instead.
app.conf["CELERY_DB_REUSE_MAX"] = 1_000_000_000
app.steps["consumer"].add(ConnectAnew)
app.autodiscover_tasks(["audit", "shopsync", "inventory", "orders", "messaging"])


@signals.setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Leave the logging that settings.py configured as it is."""


@signals.task_prerun.connect
@signals.task_postrun.connect
def check_connections(**_: Any) -> None:
    """Drop connections that are broken or too old, as a request does."""
    close_old_connections()


@signals.worker_ready.connect
def start_heart(sender: Any = None, **_: Any) -> None:
    """Let the worker's main process say every few seconds that it lives."""
    name = str(getattr(sender, "hostname", "worker"))
    threading.Thread(target=beat_heart, args=(name,), daemon=True, name="heartbeat").start()
