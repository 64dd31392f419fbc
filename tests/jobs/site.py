"""Settings of the processes that these tests start: the real ones, and the tests' own jobs."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.jobs.app.ChaosApp"]
