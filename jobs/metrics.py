"""The jobs' figures as Prometheus reads them. They come from rows, so any process can tell."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from django.db.models import Sum
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from jobs.health import Report, report
from jobs.models import Job, Tally
from jobs.tally import STEPS_S


def families() -> Iterator[Metric]:
    """All figures of jobs, as metric families."""
    found = report()
    yield from _now(found)
    yield from _so_far()
    yield from _times("wait", "Seconds from a job's due time to its start.")
    yield from _times("work", "Seconds from a job's start to its end.")


def _now(found: Report) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "scrip_jobs_waiting", "Jobs that wait in a queue.", labels=["queue", "due"]
    )
    oldest = GaugeMetricFamily(
        "scrip_jobs_oldest_seconds", "Age of the oldest job that is due.", labels=["queue"]
    )
    for queue in found.queues:
        waiting.add_metric([queue.name, "now"], queue.due)
        waiting.add_metric([queue.name, "later"], queue.later)
        oldest.add_metric([queue.name], queue.oldest_s)
    yield from (waiting, oldest)
    states = GaugeMetricFamily(
        "scrip_jobs_in_state", "Jobs that have not ended well.", labels=["state"]
    )
    for state in ("running", "paused", "stranded", "dead"):
        states.add_metric([state], getattr(found, state))
    yield states
    if found.sweeper_silence_s is not None:
        yield GaugeMetricFamily(
            "scrip_jobs_sweeper_silence_seconds",
            "Since the sweeper's last sign of life.",
            found.sweeper_silence_s,
        )
    yield CounterMetricFamily(
        "scrip_jobs_rung_again", "Jobs whose ring nobody heard.", found.rung_again
    )
    yield CounterMetricFamily(
        "scrip_jobs_taken_back", "Jobs taken back from workers that died.", found.taken_back
    )


def _so_far() -> Iterator[Metric]:
    ended = CounterMetricFamily(
        "scrip_jobs_ended", "Jobs that ended, and how.", labels=["name", "state"]
    )
    attempts = CounterMetricFamily(
        "scrip_jobs_attempts", "Attempts that ended jobs took.", labels=["name"]
    )
    by_name: dict[str, int] = {}
    rows = Tally.objects.values_list("name", "state").order_by("name", "state")
    for name, state, jobs, tried in rows.annotate(Sum("jobs"), Sum("attempts")):
        ended.add_metric([name, Job.State(state).label], jobs)
        by_name[name] = by_name.get(name, 0) + tried
    for name, tried in by_name.items():
        attempts.add_metric([name], tried)
    yield from (ended, attempts)


def _times(what: str, meaning: str) -> Iterator[Metric]:
    family = HistogramMetricFamily(f"scrip_jobs_{what}_seconds", meaning, labels=["name"])
    rows = Tally.objects.values_list("name", f"{what}_step").order_by("name")
    counts: dict[str, list[int]] = {}
    sums: dict[str, float] = {}
    for name, step, jobs, seconds in rows.annotate(Sum("jobs"), Sum(f"{what}_s")):
        counts.setdefault(name, [0] * (len(STEPS_S) + 1))[step] += jobs
        sums[name] = sums.get(name, 0.0) + seconds
    bounds = [*map(str, STEPS_S), "+Inf"]
    for name, per_step in counts.items():
        buckets = list(zip(bounds, accumulate(per_step), strict=True))
        family.add_metric([name], buckets=buckets, sum_value=sums[name])
    yield family
