"""What Prometheus reads at /metrics: how every part stands, and what jobs have done.

Each figure comes from PostgreSQL or Redis, so it does not matter which process answers, and
nothing has to be collected from many. A part that does not answer is a figure too.

Whoever asks shows METRICS_TOKEN, as `Authorization: Bearer …`. Without the setting there is
no such address.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterator

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from config.health import Part, check_parts
from edge.problems import Refusal, answer
from jobs import metrics as jobs

logger = logging.getLogger(__name__)

PATH = "/metrics"
GAUGES = {
    ("relay", "silence_s"): ("scrip_relay_silence_seconds", "Since the relay's sign of life.", 1),
    ("relay", "lag_events"): ("scrip_relay_lag_events", "Events not yet told.", 1),
    ("relay", "lag_ms"): ("scrip_relay_lag_seconds", "Age of the oldest event not yet told.", 1000),
    ("market_data", "silence_s"): (
        "scrip_market_data_silence_seconds",
        "Since the projector's sign of life.",
        1,
    ),
    ("market_data", "behind_changes"): (
        "scrip_market_data_behind_changes",
        "Changes of markets not yet shown.",
        1,
    ),
}
"""Figures of /readyz by part and name: what each is called, what it means, and its divisor."""


class MetricsKeyMissing(Refusal):
    """Figures are for those who run the platform."""

    code = "metrics_token_wrong"
    title = "This needs the metrics token"
    status = 401


class MetricsMiddleware:
    """Answers the one address, before hosts and redirects are looked at, as probes need it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == PATH and settings.METRICS_TOKEN:
            return _metrics(request)
        return self._get_response(request)


def _metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape: the parts' signs of life, then the jobs' figures."""
    shown = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if not hmac.compare_digest(shown.encode(), settings.METRICS_TOKEN.encode()):
        status, headers, body = answer(MetricsKeyMissing())
        response = HttpResponse(body, status=status, headers=headers)
        # Whoever asks hears it; the log need not, each time somebody asks.
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response
    registry = CollectorRegistry()
    registry.register(_Figures())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(
        encode(registry), content_type=content_type, headers={"Cache-Control": "no-store"}
    )


class _Figures(Collector):
    """Asks everything anew for each scrape."""

    def collect(self) -> Iterator[Metric]:
        parts = check_parts()
        yield from _signs_of_life(parts)
        yield from _writers(parts["writers"])
        for (part, key), (name, meaning, divisor) in GAUGES.items():
            value = parts[part].get(key)
            if value is not None:
                yield GaugeMetricFamily(name, meaning, value / divisor)
        if parts["database"]["is_ready"]:
            try:
                yield from list(jobs.families())
            except Error as error:
                logger.warning("the jobs' figures are missing: %s", type(error).__name__)


def _signs_of_life(parts: dict[str, Part]) -> Iterator[Metric]:
    ready = GaugeMetricFamily(
        "scrip_part_ready", "Whether a part of the platform lives.", labels=["part"]
    )
    took = GaugeMetricFamily(
        "scrip_part_check_seconds", "How long its answer took.", labels=["part"]
    )
    for name, part in parts.items():
        ready.add_metric([name], float(part["is_ready"]))
        took.add_metric([name], part["took_ms"] / 1000)
    yield from (ready, took)


def _writers(part: Part) -> Iterator[Metric]:
    silence = GaugeMetricFamily(
        "scrip_writer_silence_seconds", "Since a writer's sign of life.", labels=["shard"]
    )
    waiting = GaugeMetricFamily(
        "scrip_writer_waiting_entries", "Stream entries that wait for it.", labels=["shard"]
    )
    for shard in part.get("shards", []):
        number = str(shard["shard"])
        waiting.add_metric([number], shard["waiting_entries"])
        if shard["silence_s"] is not None:
            silence.add_metric([number], shard["silence_s"])
    yield from (silence, waiting)
