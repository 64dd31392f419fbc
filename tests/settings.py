"""Scrip's own settings, for servers that belong to this test session."""

import os

from tests.support.folder import take_own_folder

take_own_folder()
# What the tests start as processes of their own runs with the real settings.
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"

from config.settings import *  # noqa: E402, F403

# Signing in is not what most tests are about, and a safe hash takes a third of a second.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Nothing is collected for tests: pages name the files as they are in the rooms.
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # noqa: F405
STORAGES["staticfiles"] = {  # noqa: F405
    "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
}
