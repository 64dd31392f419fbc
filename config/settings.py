"""Django settings. Every value that differs between machines comes from the environment.

With none of it set, this is the embedded installation of `make run`. docs/settings.md
lists the variables.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from config.backoffice import THEME
from config.content_policy import site_policy
from config.embedded import Embedded, var_dir
from config.redis_urls import CACHE, CELERY, at_database, celery_broker
from config.secret import stored_secret

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = var_dir()
env = environ.Env()
_embedded = Embedded(VAR_DIR)
_is_embedded = not env.str("DATABASE_URL", default="")

# -- the installation ------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
PUBLIC_URL = env.str("PUBLIC_URL", default="")
"""Where people reach us, as in https://scrip.example. With https, everything insists on it."""
_is_https = PUBLIC_URL.startswith("https://")

SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY and (_is_embedded or DEBUG):
    SECRET_KEY = stored_secret(VAR_DIR / "secret_key")
if not SECRET_KEY:
    raise ImproperlyConfigured("Set SECRET_KEY: your own servers need a secret of their own.")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])

CODE_KEYS = env.list("CODE_KEYS", default=[])
"""What voucher codes are sealed with (rewards/sealing.py): the first seals, all open."""
CODE_LOOKUP_KEY = env.str("CODE_LOOKUP_KEY", default="")
"""What voucher codes are found by; it must never change."""
if _is_embedded and not CODE_KEYS:
    CODE_KEYS = [stored_secret(VAR_DIR / "code_key")]
if _is_embedded and not CODE_LOOKUP_KEY:
    CODE_LOOKUP_KEY = stored_secret(VAR_DIR / "code_lookup_key")

METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
"""What Prometheus shows at /metrics (config/metrics.py); without it there is no such address."""
if _is_embedded and not METRICS_TOKEN:
    METRICS_TOKEN = stored_secret(VAR_DIR / "metrics_token")

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
if PUBLIC_URL:
    ALLOWED_HOSTS.append(urlsplit(PUBLIC_URL).hostname or "")
    CSRF_TRUSTED_ORIGINS.append(PUBLIC_URL.rstrip("/"))
TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXY_COUNT", default=1)
"""How many of our own proxies stand in front; the last is Caddy, which hears of the others only
from addresses in `TRUSTED_PROXIES` (config/supervisor/front.py)."""
if TRUSTED_PROXY_COUNT > 1 and not env.str("TRUSTED_PROXIES", default=""):
    raise ImproperlyConfigured("TRUSTED_PROXY_COUNT above 1 needs TRUSTED_PROXIES")

INSTALLED_APPS = [
    "config",
    # Before allauth: its pages wear our templates.
    "web",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "django_recaptcha",
    "django_celery_beat",
    "csp",
    "edge",
    "accounts",
    "jobs",
    "live",
    "sequencer",
    "wallet",
    "orderbook",
    "rewards",
    "rewards.campaigns",
]

MIDDLEWARE = [
    "config.health.HealthMiddleware",
    "config.metrics.MetricsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.content_policy.ContentPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "config.exact_addresses.ExactAddresses",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi:application"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# -- PostgreSQL and Redis --------------------------------------------------------------

DATABASES = {"default": env.db_url("DATABASE_URL", default=_embedded.database_url)}
DATABASES["default"].update(
    ENGINE="django.db.backends.postgresql",
    # One connection a process, kept open: the web has one thread a process.
    CONN_MAX_AGE=600,
    CONN_HEALTH_CHECKS=True,
    TEST={"NAME": "test_scrip"},
)
DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL", default=_embedded.redis_url)
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default=celery_broker(REDIS_URL, CELERY))
# Jobs and seconds between runs: the first content of the table that people edit in the admin.
_EVERY_S = {
    "wallet.seal": 60,
    "wallet.expire_holds": 15,
    "wallet.expire_points": 60,
    "wallet.fold_points": 3_600,
    "wallet.maintain_partitions": 86_400,
    "campaigns.follow_tiers": 3_600,
    "campaigns.forget_refusals": 86_400,
    "edge.forget_old_keys": 86_400,
    "jobs.clear_sessions": 86_400,
    "rewards.lapse_reservations": 15,
    "rewards.break_expired": 300,
    "rewards.release_guarantees": 60,
    "rewards.end_silent_disputes": 60,
    "rewards.close_guarantees": 3_600,
}
CELERY_BEAT_SCHEDULE = {
    task: {"task": task, "schedule": every_s} for task, every_s in _EVERY_S.items()
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": env.str("CACHE_URL", default=at_database(REDIS_URL, CACHE)),
        "KEY_PREFIX": "cache",
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
    },
}

SHARD_COUNT = env.int("SHARD_COUNT", default=1)
"""How many lines of commands there are, each with one writer."""
SEQUENCER_ENGINES = [
    "orderbook.engine.MarketEngine",
    "rewards.campaigns.rush.engine.CampaignEngine",
]
"""The rooms that apply commands, in the writer of every shard."""

GATEWAY_RATE_PER_S = env.int("GATEWAY_RATE_PER_S", default=200)
GATEWAY_RATE_BURST = env.int("GATEWAY_RATE_BURST", default=1_000)
"""Commands that a gateway takes from one key, unless the key has a rate of its own."""
GATEWAY_LIMIT = env.str("GATEWAY_LIMIT", default="gradient")
"""How a gateway learns how much may be under way: `gradient`, or `aimd` in its place."""

# -- browsers --------------------------------------------------------------------------

# Cookies know no ports: two embedded copies on one machine would sign each other out.
SESSION_COOKIE_NAME = f"scrip_session_{_embedded.digest}" if _is_embedded else "scrip_session"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = _is_https
CSRF_COOKIE_SECURE = _is_https
SECURE_SSL_REDIRECT = _is_https
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _is_https else None
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=31_536_000) if _is_https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("HSTS_INCLUDE_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = env.bool("HSTS_PRELOAD", default=False)
# Both bind names that may serve something else: whoever runs us chooses them knowingly.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
RECAPTCHA_PUBLIC_KEY = env.str("RECAPTCHA_PUBLIC_KEY", default="")
RECAPTCHA_PRIVATE_KEY = env.str("RECAPTCHA_PRIVATE_KEY", default="")
RECAPTCHA_HOSTNAMES = env.list(
    "RECAPTCHA_HOSTNAMES",
    default=[urlsplit(PUBLIC_URL).hostname] if PUBLIC_URL else ALLOWED_HOSTS,
)
RECAPTCHA_VERIFY_REQUEST_TIMEOUT = 3
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": site_policy(with_recaptcha=bool(RECAPTCHA_PUBLIC_KEY)),
}

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Names carry a hash of the content, so browsers keep files for ever.
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# -- people ----------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "allauth.account.auth_backends.AuthenticationBackend",
    "accounts.backends.RoleBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {"signup": "accounts.forms.SignUpForm"}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*", "password2*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = "handle"
ACCOUNT_USERNAME_VALIDATORS = "accounts.models.HANDLE_VALIDATORS"
ACCOUNT_PRESERVE_USERNAME_CASING = False
ACCOUNT_EMAIL_VERIFICATION = env.str("ACCOUNT_EMAIL_VERIFICATION", default="optional")
ACCOUNT_SESSION_REMEMBER = True
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]

# Without a mail server, letters land as files in var/mail.
vars().update(env.email_url_config(env.str("EMAIL_URL", default="") or "filemail://"))
if not env.str("EMAIL_URL", default=""):
    EMAIL_FILE_PATH = VAR_DIR / "mail"
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="Scrip <scrip@localhost>")

# -- the API ---------------------------------------------------------------------------

REST_FRAMEWORK = {
    "EXCEPTION_HANDLER": "edge.answers.answer_exception",
    "DEFAULT_PARSER_CLASSES": ["edge.bodies.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "edge.pagination.CursorPage",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["accounts.throttling.CallerRate"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
API_RATE_PER_MINUTE = env.int("API_RATE_PER_MINUTE", default=1200)
API_RATE_BURST = env.int("API_RATE_BURST", default=200)
SPECTACULAR_SETTINGS = {
    "TITLE": "Scrip",
    "DESCRIPTION": "Wallets, rewards and a market for vouchers.",
    "VERSION": "1.0.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "orderbook.openapi.add_trading",
        "sequencer.waiting_room.openapi.add_waiting_rooms",
        "edge.openapi.add_problems",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": True},
    # Fields of one name that choose from different lists, and lists that fields of many names use.
    "ENUM_NAME_OVERRIDES": {
        "AccountStatusEnum": ["open", "frozen", "closed"],
        "BulkJobKindEnum": ["generate", "import", "export", "assign", "extend", "deactivate"],
        "VoucherKindEnum": ["percentage", "amount", "item", "gift", "ticket"],
        "ApiKeyStateEnum": ["usable", "expired", "revoked"],
        "SideEnum": ["buy", "sell"],
        "DisputeVerdictEnum": ["refund", "reject"],
        "RequestStateEnum": ["open", "approved", "rejected"],
        "MarketStateEnum": "orderbook.models.Market.State",
        "CampaignStateEnum": "rewards.campaigns.models.Campaign.State",
        "VersionStateEnum": "rewards.campaigns.models.CampaignVersion.State",
        "ClaimStateEnum": "rewards.campaigns.models.Claim.State",
        "SimulationStateEnum": "rewards.campaigns.models.Simulation.State",
        "FactKindEnum": "rewards.campaigns.models.FactName.Kind",
        "FactTypeEnum": ["text", "number", "flag"],
    },
}

UNFOLD = THEME

# -- what processes say ----------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        # Bad input is the caller's business: it is answered, not logged as ours.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "httpx": {"level": "WARNING"},
        "pyBarcode": {"level": "WARNING"},
    },
}
