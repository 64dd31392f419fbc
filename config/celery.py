"""Celery: the doorbell that tells workers about jobs. What is to be done stands in rows.

Messages in Redis may be lost or come twice; nothing here is trusted with either. So the
settings aim at a quick start of each task, and at giving back what a dead worker held.
"""

from __future__ import annotations

import os

from celery import Celery
from django.conf import settings

from jobs.rules import QUEUE

TASK_SOFT_LIMIT_S = 270
TASK_LIMIT_S = 300
VISIBILITY_TIMEOUT_S = 600
"""After this a message that nobody acknowledged comes again: above the longest task."""
RESTORE_INTERVAL_S = 5
BROKER_TIMEOUT_S = 1.0
"""Whoever rings waits so long for a broker that is frozen or out of reach; without it, for ever."""

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
app = Celery("scrip")
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_pool_acquire_timeout=BROKER_TIMEOUT_S,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "unacked_restore_interval": RESTORE_INTERVAL_S,
        "unacked_restore_throttle": 1,
        "socket_keepalive": True,
        "socket_timeout": BROKER_TIMEOUT_S,
        "socket_connect_timeout": BROKER_TIMEOUT_S,
        # Whoever rings tries once; the worker's own loop comes back as often as it must.
        "max_retries": 0,
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # A web request that rings must not hang while Redis is away: the sweeper rings again.
    task_publish_retry=False,
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_soft_time_limit=TASK_SOFT_LIMIT_S,
    task_time_limit=TASK_LIMIT_S,
    task_serializer="json",
    accept_content=["json"],
    task_default_queue=QUEUE,
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    beat_scheduler="jobs.beat:JobScheduler",
    beat_schedule=settings.CELERY_BEAT_SCHEDULE,
    timezone=settings.TIME_ZONE,
    # Else a worker opens a new database connection for each task; jobs look after theirs.
    CELERY_DB_REUSE_MAX=10**9,
)
app.autodiscover_tasks()
