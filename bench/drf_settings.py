"""Settings of the baseline: Django REST framework with nothing in its way."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "bench.drf"
MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",  # says how long an answer is
    "allauth.account.middleware.AccountMiddleware",
]
ALLOWED_HOSTS = ["*"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_THROTTLE_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
}
