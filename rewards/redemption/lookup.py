"""Finds the voucher behind what somebody typed or scanned, for one partner's series alone.

A code is found by its keyed digest. A code of the series' own pattern is read by its looks
first, so a typo is told before anything is looked up. Failures count against a limit: who
tries codes that do not exist is stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import connection

from accounts.models import User
from accounts.throttling import wait_ms
from rewards.codes import CheckScheme, CodeProblem, carries_check, cleaned, look_of, problem_with
from rewards.models import GenericCode, Partner, Series, VoucherCode
from rewards.redemption.problems import CodeAmbiguous, CodeMistyped, CodeUnknown, TooManyGuesses
from rewards.sealing import sealer

FAILURES_PER_MINUTE = 20
FAILURES_AT_ONCE = 20
MOST_SERIES = 1_000

FIND = """
SELECT code.id, code.series_id FROM rewards_vouchercode AS code
  JOIN unnest(%s::bigint[], %s::uuid[]) AS wanted(series_id, digest)
    ON code.series_id = wanted.series_id AND code.digest = wanted.digest
 LIMIT 2
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What was presented: a code of one voucher, or a generic code."""

    series: Series
    code: VoucherCode | None = None
    generic: GenericCode | None = None


def find(partner: Partner, typed: str, *, actor: User, series_code: str | None = None) -> Found:
    """Find what was presented to a partner, or say how it was mistyped, or that it is unknown.

    Costs one look-up for the series and two for the code; two more when it was not found.
    """
    caller = f"guess:{partner.pk}:{actor.pk}"
    if wait := wait_ms(caller, per_minute=FAILURES_PER_MINUTE, burst=FAILURES_AT_ONCE, cost=0):
        raise TooManyGuesses(retry_after_s=wait / 1000)
    try:
        return _found(series_of(partner, series_code), typed)
    except (CodeUnknown, CodeMistyped):
        wait_ms(caller, per_minute=FAILURES_PER_MINUTE, burst=FAILURES_AT_ONCE)
        raise


def series_of(partner: Partner, series_code: str | None = None) -> list[Series]:
    """The series a partner redeems, those that have been issued."""
    series = Series.objects.public().filter(partners=partner, is_redeemed_here=True)
    if series_code is not None:
        series = series.filter(asset__code=series_code)
    return list(series.order_by("pk")[:MOST_SERIES])


def _found(series: list[Series], typed: str) -> Found:
    text = cleaned(typed)
    problem = problem_with(text)
    if problem is not None and problem is not CodeProblem.NOT_ASCII:
        raise CodeMistyped(problem)
    wanted, problems = [], set()
    for each in series:
        read = _read(each, text)
        if isinstance(read, CodeProblem):
            problems.add(read)
        else:
            wanted.append((each, read))
    found = [*_generic(series, text), *_unique(wanted)]
    if len(found) > 1:
        raise CodeAmbiguous(series=[each.series.code for each in found])
    if not found:
        raise _why_not(series, wanted, problems, text)
    return found[0]


def _read(series: Series, text: str) -> str | CodeProblem:
    pattern = series.pattern
    if pattern is not None:
        return pattern.read(text)
    if not carries_check(text, CheckScheme(series.check_scheme)):
        return CodeProblem.CHECK_WRONG
    return text


def _generic(series: Iterable[Series], text: str) -> Iterator[Found]:
    by_id = {each.pk: each for each in series}
    for generic in GenericCode.objects.filter(text=text.upper(), series__in=list(by_id))[:2]:
        yield Found(by_id[generic.series_id], generic=generic)


def _unique(wanted: Sequence[tuple[Series, str]]) -> Iterator[Found]:
    if not wanted:
        return
    by_id = {series.pk: series for series, _ in wanted}
    digests = [sealer().digest(series.pk, text).hex() for series, text in wanted]
    with connection.cursor() as cursor:
        cursor.execute(FIND, [[series.pk for series, _ in wanted], digests])
        rows = cursor.fetchall()
    for code_id, series_id in rows:
        code = VoucherCode.objects.select_related("reveal").defer("sealed").get(pk=code_id)
        yield Found(by_id[series_id], code=code)


def _why_not(
    series: list[Series], wanted: list[tuple[Series, str]], problems: set[CodeProblem], text: str
) -> CodeUnknown | CodeMistyped:
    """Tell a typo from a code that does not exist, by what no code of the partner can be."""
    if CodeProblem.CHECK_WRONG in problems:
        return CodeMistyped(CodeProblem.CHECK_WRONG)
    if series and not wanted:
        only = problems.pop() if len(problems) == 1 else CodeProblem.PATTERN
        return CodeMistyped(only)
    plain = [each for each in series if each.pattern is None]
    cases = {text.upper(), text.lower()} - {text}
    if any(_unique([(each, other) for each in plain for other in cases])):
        return CodeMistyped("code_case_differs")
    looks = {look_of(text).decode()} - {text} - cases
    if any(_unique([(each, other) for each in plain for other in looks])):
        return CodeMistyped("code_looks_like")
    return CodeUnknown()
