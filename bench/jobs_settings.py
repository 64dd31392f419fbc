"""Settings of the workers that `bench/jobs.py` starts: the real ones, and the bench's job."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "bench"]
