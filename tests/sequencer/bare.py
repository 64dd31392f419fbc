"""Settings for the processes that these tests start: two rooms alone, so they start fast."""

from config.settings import *  # noqa: F403

INSTALLED_APPS = ["live", "sequencer"]
