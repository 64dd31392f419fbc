"""What jobs refuse. The first four are mistakes of whoever writes the code that enqueues."""

from __future__ import annotations

from edge.problems import Refusal


class NotInTransaction(RuntimeError):
    """A job belongs to the transaction that makes it necessary; there is none."""


class UnknownJob(LookupError):
    """No app declares a job of this name."""


class BadArguments(ValueError):
    """The arguments do not fit the job, are no JSON, or take more than 64 kB."""


class BadKey(ValueError):
    """A unique key is empty or longer than 200 characters."""


class LeaseLost(RuntimeError):
    """The job was given to somebody else meanwhile: nothing of this attempt may count."""


class NotPossible(Refusal):
    """The job is in no state for this: it has moved on, or ended."""

    code = "job_moved_on"
    title = "None of these jobs can do that now"
    status = 409
