"""What jobs refuse. All but the last two are mistakes of whoever writes the code that enqueues."""

from __future__ import annotations

from edge.problems import Refusal


class NotInTransaction(RuntimeError):
    """A job belongs to the transaction that makes it necessary; there is none."""


class UnknownJob(LookupError):
    """No app declares a job of this name."""


class BadArguments(ValueError):
    """The arguments do not fit the job, are no JSON, or take more than 64 kB."""


class BadKey(ValueError):
    """A unique key is empty, longer than 200 characters, or no text that PostgreSQL keeps."""


class BadDueTime(ValueError):
    """A time without its zone is another moment on another machine."""


class UnknownQueue(LookupError):
    """No worker listens to a queue of this name."""


class LeaseLost(RuntimeError):
    """The job was given to somebody else meanwhile: nothing of this attempt may count."""


class NotPossible(Refusal):
    """The job is in no state for this: it has moved on, or ended."""

    code = "job_moved_on"
    title = "None of these jobs can do that now"
    status = 409
