"""The WSGI door: API, site, CMS and admin."""

import gc
import os

from django.core.wsgi import get_wsgi_application

from config.whole_requests import WholeRequests

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = WholeRequests(get_wsgi_application())

# What is loaded now stays: a full collection need not walk it again, for 70 ms each time.
gc.collect()
gc.freeze()
