"""Settings of the echo's processes: the sequencer's tables and nothing more."""

from config.settings import *  # noqa: F403

INSTALLED_APPS = ["sequencer"]
