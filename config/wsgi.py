"""The WSGI door: API, site, CMS and admin."""

import gc
import os

from django.core.wsgi import get_wsgi_application

from config.whole_requests import WholeRequests

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
application = WholeRequests(get_wsgi_application())

# What is loaded now stays: a full collection need not walk it again, for 70 ms each time. And
# what is loaded later (compiled campaigns) is not walked every hundred requests, for 30 ms.
gc.collect()
gc.freeze()
gc.set_threshold(10_000, 20, 100)
