"""Jobs and their timetable in the admin."""

from jobs.admin.jobs import JobAdmin
from jobs.admin.timetable import TimetableAdmin

__all__ = ["JobAdmin", "TimetableAdmin"]
