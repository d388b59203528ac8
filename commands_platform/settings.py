"""Django's settings. The values come from environment variables, which `.env.example` lists.

In production DATABASE_URL and REDIS_URL are set. Without them the server runs embedded: `manage.py up` starts private
servers and writes down their addresses, and every other command reads them.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ

from commands_platform import __version__, env
from commands_platform.lib import zones
from commands_platform.lib.http.page_directives import PAGE_DIRECTIVES
from commands_platform.lib.logs import logging_config
from commands_platform.lib.rates import parse_rate
from commands_platform.local.directory import STARTED_BY_UP, ServerUrls, read_server_urls, secret_key
from commands_platform.operators import site as admin_site
from outbound.address_guard import parse_places
from outbound.addresses import parse_networks
from outbound.forward_proxy import parse_proxy

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL_DIR = Path(env.text("COMMANDS_LOCAL_DIR", str(BASE_DIR / ".local")))

TZDATA_VERSION = zones.use_packaged_zones()

# Servers

# Commands that need no server.
_NEEDS_NO_SERVER = {"up", "receiver", "next_slots", "help", "version", "--help", "--version"}

EMBEDDED = not os.environ.get("DATABASE_URL") or env.flag("COMMANDS_EMBEDDED", default=False)
_server_urls = read_server_urls(LOCAL_DIR) if EMBEDDED else None
if EMBEDDED and _server_urls is None and not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
    if len(sys.argv) > 1 and sys.argv[1] in _NEEDS_NO_SERVER:
        _server_urls = ServerUrls(database_url="postgresql:///nowhere", redis_url="redis://127.0.0.1:1/0")
    else:
        raise env.BadEnvironmentError("DATABASE_URL", "is not set, and nothing runs here: start `make run` first")

DATABASE_URL = env.text("DATABASE_URL", _server_urls.database_url if _server_urls else None)
REDIS_URL = env.text("REDIS_URL", _server_urls.redis_url if _server_urls else None)
if EMBEDDED and not os.environ.get("SECRET_KEY"):
    os.environ["SECRET_KEY"] = secret_key(LOCAL_DIR)
SECRET_KEY = env.text("SECRET_KEY") if EMBEDDED else env.secret("SECRET_KEY")
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
# The first key encrypts secrets in the database, and all of them decrypt.
SECRETS_KEYS = env.secrets("SECRETS_KEYS") or [SECRET_KEY, *SECRET_KEY_FALLBACKS]

# The web

DEBUG = False
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"))
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
HTTPS = env.flag("HTTPS", default=not EMBEDDED)
SECURE_SSL_REDIRECT = HTTPS
TRUSTED_PROXIES = env.parsed("TRUSTED_PROXIES", "", parse_networks)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# A login to the admin ends after this time, even if it is in use.
SESSION_COOKIE_AGE = int(timedelta(hours=8).total_seconds())
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {"DIRECTIVES": PAGE_DIRECTIVES}

# API paths work with and without their slash. A redirect would lose the body of a POST.
APPEND_SLASH = False

MAX_BODY_BYTES = env.integer("MAX_BODY_BYTES", 1024 * 1024, minimum=64 * 1024, maximum=64 * 1024 * 1024)
# The time for a whole request body. lib.http.gateway.bodies also sets a minimum rate.
MAX_BODY_SECONDS = env.integer("MAX_BODY_SECONDS", 30, minimum=1, maximum=600)
# The requests that one client address may have in progress in each web process.
MAX_REQUESTS_PER_ADDRESS = env.integer("MAX_REQUESTS_PER_ADDRESS", 256, minimum=1, maximum=100_000)
WEB_THREADS = env.integer("WEB_THREADS", 4, minimum=1, maximum=256)
# The requests of one API key, unless the key has a limit of its own.
API_RATE_LIMIT = env.parsed("API_RATE_LIMIT", "6000/min", parse_rate)
# The quotas of an organization that has none of its own. 0: no limit.
QUOTAS = {
    "schedules": env.integer("QUOTA_SCHEDULES", 0, minimum=0, maximum=2**53),
    "shortest_period": env.integer("QUOTA_SHORTEST_PERIOD", 0, minimum=0, maximum=2**31),
    "stored_bytes": env.integer("QUOTA_STORED_BYTES", 0, minimum=0, maximum=2**53),
    "hooks": env.integer("QUOTA_HOOKS", 0, minimum=0, maximum=2**53),
    "redeliveries": env.integer("QUOTA_REDELIVERIES", 0, minimum=0, maximum=2**53),
}
MAX_JSON_DEPTH = 64
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES

# The name of this process in the Procfile. Processes that serve no pages load only the apps that they need.
PROCESS_NAME = env.text("COMMANDS_PROCESS_NAME", "commands-platform")

_PAGES = [
    # Its templates come before unfold's.
    "commands_platform.operators",
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_structlog",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
_PLATFORM = [
    "commands_platform",
    "processes",
    "audit",
    "organizations",
    "auth_tokens",
    "deliveries",
    "activity",
    "events",
    "scheduling",
    "storage",
    "installations",
    "directory",
]
_APPS_OF_PROCESS = {
    "beat": ["commands_platform", "processes"],
    "dispatcher": _PLATFORM,
    "deliverer": _PLATFORM,
}
SERVES_PAGES = PROCESS_NAME not in _APPS_OF_PROCESS
INSTALLED_APPS = [*_PAGES, *_PLATFORM] if SERVES_PAGES else _APPS_OF_PROCESS[PROCESS_NAME]

MIDDLEWARE = [
    "commands_platform.lib.http.correlation.CorrelationMiddleware",
    "commands_platform.lib.http.security_policy.SecurityPolicyMiddleware",
    "commands_platform.lib.http.middleware.RequestHygieneMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "commands_platform.lib.http.page_middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "commands_platform.lib.http.page_middleware.AuthenticationMiddleware",
    "commands_platform.lib.http.page_middleware.MessageMiddleware",
    "commands_platform.operators.permissions.CurrentOperatorMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "commands_platform.lib.http.request_log.RequestLogMiddleware",
]

ROOT_URLCONF = "commands_platform.urls" if SERVES_PAGES else "commands_platform.no_urls"
WSGI_APPLICATION = "commands_platform.wsgi.application"

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

STATIC_URL = "static/"
# An embedded server reads the files from their packages.
STATIC_ROOT = None if EMBEDDED else BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = EMBEDDED

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# PostgreSQL

# If a host is cut off, both ends of its connections notice that within about five seconds. A worker hangs no longer,
# and PostgreSQL frees its locks. The first three are in seconds or a count, and the last one is in milliseconds.
_TCP_OPTIONS = {"keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3, "tcp_user_timeout": 5000}


_MIN_POOL_OF_WORKER = 6


def _database() -> dict[str, Any]:
    database: dict[str, Any] = environ.Env.db_url_config(DATABASE_URL)
    if not database.get("NAME"):
        raise env.BadEnvironmentError("DATABASE_URL", "must name a database: postgresql://user:password@host/name")
    database["ENGINE"] = "commands_platform.lib.database.postgresql"
    # A Unix socket is given as ?host=/directory, which the URL reader leaves in the options.
    options = dict(database.get("OPTIONS", {}))
    database["HOST"] = options.pop("host", database.get("HOST", ""))
    options.setdefault("application_name", PROCESS_NAME)
    options.setdefault("connect_timeout", 5)
    parameters = []
    for name, value in _TCP_OPTIONS.items():
        options.setdefault(name, value)
        # PostgreSQL has the same options for its end. A unix socket ignores them.
        parameters.append(f"tcp_{name.removeprefix('tcp_')}={value}")
    if PROCESS_NAME in {"web", *_APPS_OF_PROCESS}:
        # A process that hangs in a transaction, or whose machine is gone, loses its locks after this time. It is far
        # more than any batch pauses between two statements, and less than a delivery's lease.
        parameters.append("idle_in_transaction_session_timeout=30s")
    if PROCESS_NAME == "web":
        # A caller is told to try again before waiting for one locked row occupies all threads of the web.
        parameters.append("lock_timeout=2s")
    if not SERVES_PAGES:
        # One locked row must not stop a worker from handling the others. A later run tries again.
        parameters.append("lock_timeout=5s")
        # Workers read the first rows of a queue in the order of an index. Such a scan marks the entries of finished
        # rows as dead, and later scans skip them. A bitmap scan would visit every one of them each time.
        parameters += ["enable_bitmapscan=off", "enable_seqscan=off"]
        # Workers run few different statements, and each of them often.
        options.setdefault("prepare_threshold", 1)
    if parameters:
        # The options of DATABASE_URL come last, so they win.
        ours = " ".join(f"-c {parameter}" for parameter in parameters)
        options["options"] = f"{ours} {options.get('options', '')}".strip()
    # Parameters are sent separately, so a statement that is repeated is parsed and planned only once.
    options.setdefault("server_side_binding", True)
    options.setdefault("prepare_threshold", 5)
    pool_size = env.integer("DATABASE_POOL_SIZE", 8, minimum=0, maximum=200)
    if PROCESS_NAME == "web":
        # Each thread of the web keeps its connection. The requests of a thread follow each other, so a pool would only
        # cost time.
        database["CONN_MAX_AGE"] = None
    elif pool_size:
        # Each thread of a worker needs one: tasks, pacemaker, housekeeping, fan-out and heartbeat.
        max_size = pool_size if SERVES_PAGES else max(pool_size, _MIN_POOL_OF_WORKER)
        # The pool doubles its pause after each failed attempt to connect. After a long outage it would try again only
        # minutes later, so it gives up when the caller does. The next caller makes it begin anew.
        options["pool"] = {"min_size": 1, "max_size": max_size, "timeout": 5, "reconnect_timeout": 5}
    database["OPTIONS"] = options
    database["TEST"] = {"NAME": env.text("TEST_DATABASE_NAME", "test_commands_platform")}
    return database


DATABASES = {"default": _database()}

# The API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["auth_tokens.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["auth_tokens.authentication.HasRequiredScope"],
    "DEFAULT_PARSER_CLASSES": ["commands_platform.lib.http.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["commands_platform.lib.http.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "commands_platform.lib.http.negotiation.JSONOnlyNegotiation",
    "DEFAULT_SCHEMA_CLASS": "commands_platform.lib.http.schema.PlatformSchema",
    "EXCEPTION_HANDLER": "commands_platform.lib.http.exception_handler.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Commands Platform",
    "DESCRIPTION": "Schedule calls, keep small data, subscribe to events and record activity.",
    "VERSION": __version__,
    "OAS_VERSION": "3.1.1",
    "LICENSE": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
    "SERVERS": [{"url": "/", "description": "This server."}],
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "PREPROCESSING_HOOKS": ["commands_platform.lib.http.routes.documented_endpoints"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "commands_platform.lib.http.schema_hooks.finish",
    ],
    "COMPONENT_SPLIT_PATCH": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "ScopeEnum": "auth_tokens.scopes.Scope",
        "InstallableScopeEnum": "auth_tokens.scopes.INSTALLABLE_SCOPES",
    },
    "WEBHOOKS": ["events.openapi.EVENT_WEBHOOK"],
}

EXCHANGE_TOKEN_LIFETIME = timedelta(
    days=env.integer("COMMANDS_EXCHANGE_TOKEN_DAYS", 30, minimum=1, maximum=3650),
)
PUBLIC_COMMANDS = env.choice("PUBLIC_COMMANDS", ("installed", "everywhere"), "installed")
FREQUENCY_UNIT = timedelta(
    seconds={"seconds": 1, "minutes": 60}[env.choice("COMMANDS_FREQUENCY_UNIT", ("seconds", "minutes"), "seconds")],
)

# Celery

REDIS_KEY_PREFIX = env.text("REDIS_KEY_PREFIX", "commands-platform:")
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": REDIS_KEY_PREFIX,
    "socket_connect_timeout": 2,
    "socket_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 15,
    # A hint that a dead worker held need not be sent again, because the next tick replaces it.
    "visibility_timeout": 3600,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_CONSUMER = "commands_platform.worker:PromptConsumer"
CELERY_ENABLE_UTC = True
CELERY_TIMEZONE = "UTC"
CELERY_TASK_ROUTES = {
    "scheduling.*": {"queue": "dispatch"},
    "events.*": {"queue": "dispatch"},
    "deliveries.*": {"queue": "deliver"},
}
CELERY_BEAT_SCHEDULER = "commands_platform.beat:WholeSecondScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 1

# Delivery

CALLBACK_ALLOWED_NETWORKS = env.parsed(
    "CALLBACK_ALLOWED_NETWORKS", "127.0.0.0/8,::1/128" if EMBEDDED else "", parse_networks
)
CALLBACK_ALLOWED_PORTS = env.ports("CALLBACK_ALLOWED_PORTS")
# The server's own addresses, which callbacks must not reach.
PUBLIC_URLS = env.parsed("PUBLIC_URLS", "", parse_places)
LISTENING_PORT = env.integer("PORT", 8000, minimum=1, maximum=65535)
CALLBACK_PROXY = env.parsed("CALLBACK_PROXY", "", parse_proxy)
CALLBACK_TIMEOUT = env.seconds("CALLBACK_TIMEOUT_SECONDS", 10, minimum=1, maximum=30)
DELIVERY_RETRY_DELAYS = env.spans("DELIVERY_RETRY_DELAYS", (5, 30, 300, 1800, 7200, 18000, 36000))
# Longer than all retries take together: 17 h 36 min, and up to a fifth more with jitter.
DELIVERY_EXPIRES_AFTER = env.seconds("DELIVERY_EXPIRES_AFTER_SECONDS", 24 * 3600, minimum=60, maximum=30 * 24 * 3600)
DELIVERY_ORIGIN_LIMIT = env.integer("DELIVERY_ORIGIN_LIMIT", 50, minimum=1, maximum=1000)
DELIVERY_LEASE = env.seconds("DELIVERY_LEASE_SECONDS", 60, minimum=2, maximum=3600)
if DELIVERY_LEASE < CALLBACK_TIMEOUT * 1.25:
    raise env.BadEnvironmentError("DELIVERY_LEASE_SECONDS", "must be a quarter longer than CALLBACK_TIMEOUT_SECONDS")
DELIVERY_WINDOW = env.integer("DELIVERY_WINDOW", 100, minimum=1, maximum=1000)
DISPATCH_BATCH = env.integer("DISPATCH_BATCH", 1000, minimum=1, maximum=10_000)

# A schedule is deactivated after this number of failed deliveries in a row over this time; 0: never.
SCHEDULE_DEACTIVATE_AFTER_FAILURES = env.integer("SCHEDULE_DEACTIVATE_AFTER_FAILURES", 100, minimum=0, maximum=10_000)
SCHEDULE_DEACTIVATE_AFTER = timedelta(hours=env.integer("SCHEDULE_DEACTIVATE_AFTER_HOURS", 24, minimum=1, maximum=720))

# How long the ledger keeps finished and failed rows, and the number of rows per schedule. Failures do not count there.
LEDGER_KEEP_FINISHED = timedelta(days=env.integer("LEDGER_KEEP_FINISHED_DAYS", 30, minimum=1, maximum=3650))
LEDGER_KEEP_FAILED = timedelta(days=env.integer("LEDGER_KEEP_FAILED_DAYS", 90, minimum=1, maximum=3650))
if LEDGER_KEEP_FAILED < LEDGER_KEEP_FINISHED:
    raise env.BadEnvironmentError("LEDGER_KEEP_FAILED_DAYS", "must not be less than LEDGER_KEEP_FINISHED_DAYS")
LEDGER_KEEP_PER_SCHEDULE = env.integer("LEDGER_KEEP_PER_SCHEDULE", 10_000, minimum=200, maximum=10_000_000)

# How long the audit keeps changes.
AUDIT_KEEP = timedelta(days=env.integer("AUDIT_KEEP_DAYS", 400, minimum=0, maximum=36_500))

# Logs

LOGGING_CONFIG = None
LOG_FORMAT = env.choice("LOG_FORMAT", ("console", "json"), "console" if EMBEDDED else "json")
LOG_LEVEL = env.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
LOG_CALLBACKS = env.flag("LOG_CALLBACKS", default=False)
# `manage.py up` puts the time in front of each line itself.
LOG_TIMESTAMPS = STARTED_BY_UP not in os.environ
logging_config(log_format=LOG_FORMAT, level=LOG_LEVEL, timestamps=LOG_TIMESTAMPS)

# Admin

UNFOLD = admin_site.THEME
# Unfold's login page sends no `next`.
LOGIN_REDIRECT_URL = "admin:index"
