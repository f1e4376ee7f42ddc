"""Django's settings, read from the environment top to bottom. Every variable is described in docs/settings.md."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from redis.backoff import NoBackoff
from redis.retry import Retry

from config import env
from config.infra.logs import logging_config
from config.wiring import CONNECTION_SERVICES as CONNECTION_SERVICES
from config.wiring import EVENT_SUBSCRIBERS as EVENT_SUBSCRIBERS
from config.wiring import SCHEDULES as SCHEDULES
from config.wiring import WEBHOOK_HANDLERS as WEBHOOK_HANDLERS

BASE_DIR = Path(__file__).resolve().parent.parent
ENVIRONMENT = env.environment()
IS_PRODUCTION = ENVIRONMENT == "production"
PROCESS = env.text("SHOPSYNC_PROCESS")  # web, worker, beat; empty for manage.py

# --- secrets -----------------------------------------------------------------------------------------------------
_TEST_SECRET = "a-secret-for-tests-only-0123456789-0123456789-abcdefghij"  # noqa: S105  never used in production


def _secret(name: str, *, why: str) -> str:
    return env.text(name, _TEST_SECRET) if ENVIRONMENT == "test" else env.required(name, why=why)


DEBUG = env.flag("DEBUG")
if DEBUG and IS_PRODUCTION:
    raise env.SettingsError("DEBUG is on in production: unset DEBUG, or set SHOPSYNC_ENV=local on your own machine.")
SECRET_KEY = _secret("SECRET_KEY", why="Django signs sessions with it; set 50 or more random characters.")
FIELD_KEYS = env.words("FIELD_KEYS") or [
    _secret("FIELD_KEYS", why="tenants' tokens are encrypted with it; set one or more keys, newest first, by comma.")
]
DIGEST_KEY = _secret("DIGEST_KEY", why="stored payloads are digested with it; set 32 or more random characters.")

# --- where we are reached ----------------------------------------------------------------------------------------
PUBLIC_URL = env.text("PUBLIC_URL", "http://localhost").rstrip("/")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "" if IS_PRODUCTION else "localhost,127.0.0.1,[::1],testserver")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
TRUST_PROXY_HEADERS = env.flag("TRUST_PROXY_HEADERS")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUST_PROXY_HEADERS else None
SECURE_SSL_REDIRECT = IS_PRODUCTION
SECURE_REDIRECT_EXEMPT = [r"^live$", r"^ready$", r"^health"]  # probes come from inside, over plain HTTP
SECURE_HSTS_SECONDS = 31_536_000 if IS_PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = IS_PRODUCTION
SECURE_HSTS_PRELOAD = IS_PRODUCTION
SESSION_COOKIE_SECURE = IS_PRODUCTION
CSRF_COOKIE_SECURE = IS_PRODUCTION
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024  # webhook bodies; Shopify documents no limit (facts: up to 552 kB seen)

# --- apps, in the order of the arrow ------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "shopsync.apps.ShopsyncAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "config",
    "audit",
    "shopsync",
    "inventory",
    "orders",
    "messaging",
]
AUTH_USER_MODEL = "shopsync.User"
MIDDLEWARE = [
    "shopsync.middleware.TenantScopeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "shopsync.middleware.AdminTenantMiddleware",
]
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
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

# --- PostgreSQL: the ledger ---------------------------------------------------------------------------------------
_STATEMENT_TIMEOUT_MS = 30_000 if PROCESS else 0  # migrations and manage.py commands may take longer
_database = env.database(
    env.required(
        "DATABASE_URL",
        why="set postgresql://user:password@host:5432/name, or SHOPSYNC_ENV=local to start an embedded server.",
    )
)
DATABASES = {
    "default": {
        **_database,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 3,
            "application_name": f"shopsync-{PROCESS or 'manage'}",
            "options": f"-c statement_timeout={_STATEMENT_TIMEOUT_MS} -c idle_in_transaction_session_timeout=60000",
        },
    }
}
DB_POOL_SIZE = env.number("DB_POOL_SIZE", 8, minimum=1)
if PROCESS == "web":
    _pool = {"min_size": 1, "max_size": DB_POOL_SIZE, "timeout": 3}
    DATABASES["default"]["OPTIONS"]["pool"] = _pool  # type: ignore[index]  # a dict by construction
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis: the doorbell -------------------------------------------------------------------------------------------
REDIS_URL = env.required(
    "REDIS_URL", why="set redis://:password@host:6379/0, or SHOPSYNC_ENV=local to start an embedded server."
)
_cache_options = {
    "SOCKET_CONNECT_TIMEOUT": 1,
    "SOCKET_TIMEOUT": 2,
    "CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 0)},  # redis-py's default waits seconds per command
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_FUNCTION": "config.infra.cache.tenant_key",
        "OPTIONS": _cache_options,
    },
    "system": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "system",
        "OPTIONS": {**_cache_options, "IGNORE_EXCEPTIONS": True},
    },
}
DJANGO_REDIS_LOG_IGNORED_EXCEPTIONS = True
# Sign-in's limits; they guard our own API, so without Redis they let everybody in.
RATELIMIT_USE_CACHE = "system"
RATELIMIT_FAIL_OPEN = True
RATELIMIT_IP_META_KEY = "shopsync.auth.client_address"

# --- Shopify ------------------------------------------------------------------------------------------------------
SHOPIFY_API_KEY = env.text("SHOPIFY_API_KEY")
SHOPIFY_API_SECRET = _secret("SHOPIFY_API_SECRET", why="Shopify signs its webhooks with it; copy the app's secret.")
SHOPIFY_API_SECRET_PREVIOUS = env.text("SHOPIFY_API_SECRET_PREVIOUS")
SHOPIFY_API_VERSION = env.text("SHOPIFY_API_VERSION", "2026-07")
SHOPIFY_ADMIN_URL = env.text("SHOPIFY_ADMIN_URL", "https://{shop_domain}").rstrip("/")

# --- e-mail --------------------------------------------------------------------------------------------------------
_mail = env.mail(env.text("EMAIL_URL", f"file://{BASE_DIR}/.local/mail" if ENVIRONMENT == "local" else ""))
EMAIL_BACKEND = str(_mail["EMAIL_BACKEND"])  # empty: digests wait, and say for what
EMAIL_FILE_PATH = _mail.get("EMAIL_FILE_PATH")
EMAIL_HOST = _mail.get("EMAIL_HOST", "")
EMAIL_PORT = _mail.get("EMAIL_PORT", 25)
EMAIL_HOST_USER = _mail.get("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = _mail.get("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = _mail.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _mail.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("EMAIL_FROM", "Shopsync <shopsync@localhost>")
OPS_EMAILS = env.words("OPS_EMAILS")

# --- the inbox ----------------------------------------------------------------------------------------------------
PAYLOAD_RETENTION_DAYS = env.number("PAYLOAD_RETENTION_DAYS", 30, minimum=1)

# --- API ----------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["shopsync.auth.ApiKeyAuthentication", "shopsync.auth.TenantJWTAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["shopsync.auth.HasTenant"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["shopsync.serializers.JSONBody"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "shopsync.serializers.NewestFirst",
    "DEFAULT_FILTER_BACKENDS": ["shopsync.serializers.StrictFilters"],
    "PAGE_SIZE": 50,
    "EXCEPTION_HANDLER": "shopsync.views.problem_details",
}
_API_DESCRIPTION = """The operations backend behind Shopify shops.

**Sign in** with `Authorization: Api-Key <key>` (made in the admin) or `Authorization: Bearer <token>` (from
`POST /api/v1/auth/token`). Each carries one tenant; another tenant's rows answer 404.

**Shopify's ids are strings**: they pass 2^53, which JavaScript's numbers can't hold. Our own `id`s are numbers.
**Money is a string** with its currency's decimals, and the currency stands beside it. Times are ISO 8601 in UTC.

**Writes** take an `Idempotency-Key` header: the same key with the same request is done once and answered alike.

**Lists** are newest first, in pages: follow `next`. What is refused comes as RFC 9457 problem details.
"""
SPECTACULAR_SETTINGS = {
    "TITLE": "Shopsync API",
    "DESCRIPTION": _API_DESCRIPTION,
    "VERSION": "1",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "shopsync.views.schema.add_problems",
    ],
    "ENUM_NAME_OVERRIDES": {  # of `country` and `country_code`, of `channel` and `channels`
        "CountryEnum": "inventory.rules.COUNTRIES",
        "PlaceEnum": "messaging.senders.PLACES",
        "ChannelEnum": "messaging.models.contacts.Channel",
    },
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "CHECK_REVOKE_TOKEN": True,  # a changed password ends every token
}

# --- the admin ----------------------------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "Shopsync",
    "SITE_HEADER": "Shopsync",
    "SITE_SUBHEADER": "operations",
    "SITE_DROPDOWN": "shopsync.sites.dropdown",
    "SITE_SYMBOL": "sync_alt",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/shopsync/icon.svg"}],
    "ENVIRONMENT": "shopsync.sites.environment",
    "SIDEBAR": {"navigation": "shopsync.sites.sidebar"},
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
}
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ["/webhooks/"],
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # The admin's Alpine.js evaluates expressions in attributes, and its templates carry inline handlers.
        "script-src": ["'self'", "'unsafe-inline'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:"],
        "frame-ancestors": ["'none'"],
    },
}

# --- files, language, time -----------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
# Labels and the like: private, so there is no MEDIA_URL; whoever may have a file gets it through a view.
MEDIA_ROOT = Path(env.text("MEDIA_ROOT", str(BASE_DIR / ".local" / "media")))
FILE_UPLOAD_PERMISSIONS, FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o640, 0o750
WHITENOISE_USE_FINDERS = not IS_PRODUCTION
WHITENOISE_AUTOREFRESH = False
LANGUAGE_CODE = "en"
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "config.formats"

# --- what we tell ops ----------------------------------------------------------------------------------------------
LOGGING_CONFIG = None
logging_config(level=env.text("LOG_LEVEL", "INFO"), as_json=IS_PRODUCTION)
SENTRY_DSN = env.text("SENTRY_DSN")
if SENTRY_DSN:
    import sentry_sdk

    sentry_sdk.init(dsn=SENTRY_DSN, environment=ENVIRONMENT, send_default_pii=False, max_request_body_size="never")
