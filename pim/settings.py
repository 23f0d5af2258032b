"""All settings, from the environment (`docs/configuration.md`); bad values stop the start and are named."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from pim.api.rates import read_rate
from pim.embedded import postgres, valkey
from pim.env import env, env_bool, env_choice, env_int, env_list, generated_secret
from pim.net import private_hosts

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env("PIM_DATA_DIR") or BASE_DIR / ".data").absolute()

DEBUG = env_bool("PIM_DEBUG", False)
SECRET_KEY = env("PIM_SECRET_KEY") or generated_secret(DATA_DIR, "secret_key")
ALLOWED_HOSTS = env_list("PIM_ALLOWED_HOSTS") or ["*"]
CSRF_TRUSTED_ORIGINS = env_list("PIM_TRUSTED_ORIGINS")
HTTPS = env_bool("PIM_HTTPS", False)

INSTALLED_APPS = [
    "pim.apps.PimConfig",  # before the admin, whose templates it extends
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "pim.api.apps.ApiConfig",
    "pim.apikeys.apps.ApiKeysConfig",
    "pim.webhooks.apps.WebhooksConfig",
    "catalog.apps.CatalogConfig",
    "imports.apps.ImportsConfig",
    "code2asin.apps.Code2AsinConfig",
    "extapi.apps.ExtApiConfig",
]

MIDDLEWARE = [
    "pim.api.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "pim.api.middleware.ApiErrorMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "pim.urls"
WSGI_APPLICATION = "pim.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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


def database(url: str) -> dict[str, object]:
    """Django's settings for a `postgresql://user:password@host:port/name?option=value` URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/"):
        raise ImproperlyConfigured("DATABASE_URL must look like postgresql://user:password@host:port/name")
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", parts.hostname or ""),
        "PORT": options.pop("port", parts.port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 10, **options},
    }


DATABASE_URL = env("DATABASE_URL") or postgres.url(DATA_DIR)
DATABASES = {"default": database(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("fr", _("French"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

# Files: under the data directory, or in any S3-compatible storage.
S3_ENDPOINT_URL = env("S3_ENDPOINT_URL")
S3_BUCKET = env("S3_BUCKET")
MEDIA_ROOT = DATA_DIR / "media"
MEDIA_URL = "media/"
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # served from the packages: no collectstatic step before the first start
STORAGES: dict[str, dict[str, object]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
if S3_BUCKET:
    STORAGES["default"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": S3_BUCKET,
            "endpoint_url": S3_ENDPOINT_URL,
            "access_key": env("S3_ACCESS_KEY_ID"),
            "secret_key": env("S3_SECRET_ACCESS_KEY"),
            "region_name": env("S3_REGION"),
            "file_overwrite": False,
        },
    }

# Requests. A JSON body of 1,000 products with long HTML descriptions is larger than Django's 2.5 MB default.
DATA_UPLOAD_MAX_MEMORY_SIZE = 32 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
FILE_UPLOAD_PERMISSIONS = 0o600
IMPORT_MAX_UPLOAD_BYTES = env_int("PIM_MAX_UPLOAD_MB", 1024) * 1024 * 1024

# Security headers and cookies.
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # probes come without the proxy
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_SECURE = HTTPS
X_FRAME_OPTIONS = "DENY"

# Addresses that feeds, webhooks and images may reach although they are private.
ALLOW_PRIVATE_HOSTS = private_hosts(env_list("PIM_ALLOW_PRIVATE_HOSTS"))

# Celery: doorbells only, so early acknowledgement is right; the sweep heals what is lost.
CELERY_BROKER_URL = env("CELERY_BROKER_URL") or valkey.url(DATA_DIR)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_TIME_LIMIT = 300
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "socket_connect_timeout": 2,
}
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
JOB_SWEEP_SECONDS = env_int("PIM_JOB_SWEEP_SECONDS", 15)
JOB_LEASE = timedelta(seconds=env_int("PIM_JOB_LEASE_SECONDS", 60))
JOB_SLICE = timedelta(seconds=env_int("PIM_JOB_SLICE_SECONDS", 20))
JOB_RETRY_UNIT = timedelta(seconds=env_int("PIM_JOB_RETRY_UNIT_SECONDS", 60))
CELERY_BEAT_SCHEDULE = {
    "pim: wake due jobs": {
        "task": "pim.jobs.tasks.sweep",
        "schedule": timedelta(seconds=JOB_SWEEP_SECONDS),
        "options": {"expires": JOB_SWEEP_SECONDS},
    },
    "catalog: stamp changes": {
        "task": "catalog.tasks.stamp_changes",
        "schedule": timedelta(seconds=JOB_SWEEP_SECONDS),
        "options": {"expires": JOB_SWEEP_SECONDS},
    },
    "pim: send due webhook messages": {
        "task": "pim.webhooks.tasks.sweep",
        "schedule": timedelta(seconds=JOB_SWEEP_SECONDS),
        "options": {"expires": JOB_SWEEP_SECONDS},
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "pim.apikeys.authentication.ApiKeyAuthentication",
        "pim.api.authentication.StaffSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["pim.api.permissions.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["pim.api.throttling.KeyThrottle"],
    "DEFAULT_PARSER_CLASSES": ["pim.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "pim.api.negotiation.JsonFirstNegotiation",
    "DEFAULT_PAGINATION_CLASS": "pim.api.pagination.SkipLimitPagination",
    "DEFAULT_SCHEMA_CLASS": "pim.api.schema.Schema",
    "EXCEPTION_HANDLER": "pim.api.errors.exception_handler",
    "COERCE_DECIMAL_TO_STRING": False,
    "UNAUTHENTICATED_USER": None,
}
try:
    RATE_LIMIT = read_rate(env("PIM_RATE_LIMIT") or "100/s")
except ValueError as error:
    raise ImproperlyConfigured(f"PIM_RATE_LIMIT: {error}.") from None
SPECTACULAR_SETTINGS = {
    "TITLE": "PIM API",
    "DESCRIPTION": "Products, supplier imports and EAN to ASIN matching.",
    "VERSION": "1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "PREPROCESSING_HOOKS": ["pim.api.schema.documented_once"],
    "POSTPROCESSING_HOOKS": [],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

# Identifiers and matching.
EAN_CHECK = env_choice("PIM_EAN_CHECK", "warn", choices=("off", "warn", "reject"))
CODE2ASIN_PROVIDER = env_choice("CODE2ASIN_PROVIDER", "sp_api", choices=("sp_api",))
AMAZON_SP_API_ENDPOINT = env("AMAZON_SP_API_ENDPOINT") or "https://sellingpartnerapi-eu.amazon.com"
AMAZON_LWA_TOKEN_URL = env("AMAZON_LWA_TOKEN_URL") or "https://api.amazon.com/auth/o2/token"
AMAZON_CLIENT_ID = env("AMAZON_CLIENT_ID") or ""
AMAZON_CLIENT_SECRET = env("AMAZON_CLIENT_SECRET") or ""
AMAZON_REFRESH_TOKEN = env("AMAZON_REFRESH_TOKEN") or ""
AMAZON_MARKETPLACE_ID = env("AMAZON_MARKETPLACE_ID") or "A13V1IB3VIYZZH"  # amazon.fr

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env("PIM_LOG_LEVEL") or "INFO"},
    # Doorbells ring every few seconds; what they lead to is logged by the job engine.
    "loggers": {
        name: {"level": "WARNING"}
        for name in ("celery.beat", "celery.worker.strategy", "celery.app.trace", "django_celery_beat.schedulers")
    },
}
