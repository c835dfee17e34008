"""Django settings, driven by the environment (docs/operations.md lists every variable). Wrong values fail loudly."""

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import environ
from celery.schedules import crontab
from django.core.exceptions import ImproperlyConfigured
from kombu import Exchange, Queue

from config.console import theme
from config.console.login_settings import *  # noqa: F403 (settings are names)
from config.limit_settings import *  # noqa: F403 (as above)

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()

# --- Mode ---------------------------------------------------------------------------------------------------

DEBUG = env.bool("DJANGO_DEBUG", default=False)
#: "strict" wants a credential everywhere; "open" is the guide's development mode, for loopback only.
AUTH_MODE = env.str("AUTH_MODE", default="strict")
if AUTH_MODE not in {"strict", "open"}:
    raise ImproperlyConfigured(f"AUTH_MODE must be 'strict' or 'open', not {AUTH_MODE!r}")


def _secret(name: str, *, development: str) -> str:
    """A secret from the environment; only in DEBUG is there a well-known default."""
    return env.str(name, default=development) if DEBUG else env.str(name)


SECRET_KEY = _secret("DJANGO_SECRET_KEY", development="development-only-not-secret")
#: Fernet keys (cryptography.fernet.Fernet.generate_key()), newest first.
FIELD_ENCRYPTION_KEYS = [
    key.strip()
    for key in _secret("FIELD_ENCRYPTION_KEYS", development="ZGV2ZWxvcG1lbnQtb25seS1ub3QtYS1zZWNyZXQtMDA=").split(",")
    if key.strip()
]
ALLOWED_HOSTS = env.list("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("DJANGO_CSRF_TRUSTED_ORIGINS", default=[])

# --- Applications -------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    # The console's look; before the admin, whose templates it replaces.
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    # The log-in: https://docs.allauth.org
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "tenancy",
    "modelgroups",
    "billing",
    "jobs",
    "config.apps.ConfigConfig",
]

MIDDLEWARE = [
    # Under ASGI this chain serves the console and the documentation only: config/asgi.py answers API paths itself.
    "config.middleware.request_id",
    "config.middleware.content_security_policy",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "config.console.gate.session_limits",
    "config.console.gate.second_factor",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
#: The documented paths have no trailing slash, and a redirect would lose a POST's body.
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.console.context.look_of_the_console",
            ],
        },
    }
]

# --- PostgreSQL ---------------------------------------------------------------------------------------------

DATABASES: dict[str, dict[str, Any]] = {"default": env.db_url("DATABASE_URL")}
if "postgresql" not in DATABASES["default"]["ENGINE"]:
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL database: the ledger's rules live in it")
DATABASES["default"].setdefault("OPTIONS", {})
#: Whoever is stopped in the middle of a transaction must not keep its rows locked for good.
_OPTIONS = DATABASES["default"]["OPTIONS"]
_OPTIONS["options"] = f"{_OPTIONS.get('options', '')} -c idle_in_transaction_session_timeout=60s".strip()
#: Pooled connections for the threads of web (config/asgi.py sets it) and of the calls' worker (the Procfile does).
#: Elsewhere 0: Celery closes connections around every task and would tear a pool down each time.
DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", default=0)
if DATABASE_POOL_SIZE:
    DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 10}
#: Connections of the asyncio pool, per process: see config/foundation/async_database.py.
ASYNC_POOL_SIZE = env.int("ASYNC_POOL_SIZE", default=4)
ASYNC_POOL_TIMEOUT_S = env.float("ASYNC_POOL_TIMEOUT_S", default=5.0)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis and Celery ---------------------------------------------------------------------------------------

REDIS_URL = env.str("REDIS_URL")
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_TASK_DEFAULT_QUEUE = "maintenance"
CELERY_TASK_QUEUES = [
    # Nothing acknowledges a call: its row is what recovery works from, and two round trips to Redis are saved.
    Queue("calls", Exchange("calls"), routing_key="calls", no_ack=True),
    Queue("maintenance", Exchange("maintenance"), routing_key="maintenance"),
    # Apart, because it waits for other people's servers.
    Queue("webhooks", Exchange("webhooks"), routing_key="webhooks"),
]
CELERY_TASK_ROUTES = {
    "jobs.run_call": {"queue": "calls"},
    "jobs.check_model": {"queue": "calls"},
    # Dispatched where they are delivered: while nobody delivers, nothing but the beat's own messages piles up.
    "tenancy.dispatch_webhooks": {"queue": "webhooks"},
    "tenancy.deliver_webhooks": {"queue": "webhooks"},
    "tenancy.send_alert_mails": {"queue": "webhooks"},
}
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
#: Bounded, so that a broker that is away becomes a 503 within seconds and not a hanging request.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 2,
    "socket_timeout": 10,
    "socket_keepalive": True,
    "retry_on_timeout": True,
    "health_check_interval": 10,
}
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.2}
#: How often policies are looked at; a threshold is noticed no sooner.
REFILL_INTERVAL_S = env.float("REFILL_INTERVAL_S", default=60.0)
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "sweep calls": {"task": "jobs.sweep_calls", "schedule": 5.0, "options": {"expires": 5}},
    "sweep jobs": {"task": "jobs.sweep_jobs", "schedule": 30.0, "options": {"expires": 30}},
    "erase contents": {"task": "jobs.erase_contents", "schedule": 30.0, "options": {"expires": 30}},
    "give jobs their users": {"task": "jobs.give_jobs_their_users", "schedule": 10.0, "options": {"expires": 10}},
    "erase users": {"task": "jobs.erase_users", "schedule": 10.0, "options": {"expires": 10}},
    "expire credits": {"task": "billing.expire_credits", "schedule": 60.0, "options": {"expires": 60}},
    "run refill policies": {
        "task": "billing.run_refill_policies",
        "schedule": REFILL_INTERVAL_S,
        "options": {"expires": REFILL_INTERVAL_S},
    },
    "run refill uploads": {"task": "billing.run_refill_uploads", "schedule": 10.0, "options": {"expires": 10}},
    "refresh rollups": {"task": "jobs.refresh_rollups", "schedule": 30.0, "options": {"expires": 30}},
    "verify the ledger": {"task": "jobs.verify_ledger", "schedule": crontab(hour="3", minute="41")},
    "purge idempotency records": {
        "task": "tenancy.purge_idempotency_records",
        "schedule": crontab(minute="17"),
    },
    "dispatch webhooks": {"task": "tenancy.dispatch_webhooks", "schedule": 1.0, "options": {"expires": 1}},
    "send alert mails": {"task": "tenancy.send_alert_mails", "schedule": 10.0, "options": {"expires": 10}},
    "evaluate alerts": {"task": "jobs.evaluate_alerts", "schedule": 30.0, "options": {"expires": 30}},
    "evaluate margins": {"task": "jobs.evaluate_margins", "schedule": crontab(minute="47")},
    "purge webhook events": {"task": "tenancy.purge_webhook_events", "schedule": 60.0, "options": {"expires": 60}},
}

# --- HTTP ---------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["tenancy.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["tenancy.api.permissions.OperatorOnly"],
    "DEFAULT_PARSER_CLASSES": ["config.foundation.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["config.foundation.api.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "config.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "config.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "COERCE_DECIMAL_TO_STRING": False,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Job credits for LLM products",
    "DESCRIPTION": (
        "Group LLM calls into jobs; pay one credit per successful job. Authenticate with "
        "`Authorization: Bearer sk-…` (a team's virtual key) or `X-Admin-Key` (an operator key)."
    ),
    "VERSION": "2.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {},
    "PREPROCESSING_HOOKS": ["config.openapi.each_path_once"],
}

STATIC_URL = "/static/"
#: Served from the apps' own folders, so that no collectstatic has to run before the console looks right.
WHITENOISE_USE_FINDERS = True

MAX_BODY_BYTES = 1024 * 1024
MAX_CALL_BODY_BYTES = 10 * 1024 * 1024
#: The parsers enforce the two limits above; Django's own must not undercut them.
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_CALL_BODY_BYTES

UNFOLD = theme.UNFOLD

# --- Security (behind TLS in production) --------------------------------------------------------------------

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SECURE_SSL_REDIRECT = env.bool("DJANGO_SSL_REDIRECT", default=not DEBUG)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 0 if DEBUG else env.int("DJANGO_HSTS_SECONDS", default=31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEBUG
X_FRAME_OPTIONS = "DENY"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "UserAttributeSimilarityValidator")
]

# --- Language, time, logging --------------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        # One line per received task says nothing that the call's own record does not.
        "celery.worker.strategy": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "LiteLLM": {"level": "ERROR"},
    },
}
logging.captureWarnings(True)

# --- The product --------------------------------------------------------------------------------------------

#: A team's budget in USD is its credits times this (contract, "Money").
try:
    CREDIT_PRICE_USD = Decimal(env.str("CREDIT_PRICE_USD", default="0.10"))
except ArithmeticError:
    raise ImproperlyConfigured("CREDIT_PRICE_USD must be a number, such as 0.10") from None
#: An uploaded file of refills that adds more credits than this in all needs the approval of a second person.
REFILL_APPROVAL_ABOVE_CREDITS = env.int("REFILL_APPROVAL_ABOVE_CREDITS", default=100_000)
if REFILL_APPROVAL_ABOVE_CREDITS < 0:
    raise ImproperlyConfigured("REFILL_APPROVAL_ABOVE_CREDITS must not be negative; 0: every upload needs approval")
#: What is reserved of a budget for the answer of a call that sets no limit to it (docs/adr/0061).
BUDGET_OUTPUT_TOKENS = env.int("BUDGET_OUTPUT_TOKENS", default=1000)
#: 402 by the contract; 500 where integrated apps run the guide's sample handler literally.
INSUFFICIENT_CREDITS_STATUS = env.int("INSUFFICIENT_CREDITS_STATUS", default=402)
#: How long a job may stay open before the sweeper fails it and releases its hold.
JOB_TTL_S = env.int("JOB_TTL_S", default=24 * 3600)
#: From admission to outcome, over all attempts.
CALL_DEADLINE_S = env.float("CALL_DEADLINE_S", default=120.0)
#: The same for an asynchronous call, the time in the queue included; its attempts together have CALL_DEADLINE_S.
ASYNC_CALL_DEADLINE_S = env.float("ASYNC_CALL_DEADLINE_S", default=3600.0)
#: How long an asynchronous call's answer waits to be fetched, and how long it can be fetched again after that.
ASYNC_ANSWER_TTL_S = env.int("ASYNC_ANSWER_TTL_S", default=24 * 3600)
FETCHED_ANSWER_TTL_S = env.int("FETCHED_ANSWER_TTL_S", default=60)
#: Calls of all teams that may wait for a worker. More: 503.
MAX_QUEUED_CALLS = env.int("MAX_QUEUED_CALLS", default=5000)
#: The longest that one model is waited for, unless its config has a `timeout` of its own.
ATTEMPT_TIMEOUT_S = env.float("ATTEMPT_TIMEOUT_S", default=50.0)
#: How often the models of a group are asked once more when none of them answered. With a pause, so it is for the few
#: calls whose fallbacks are all down at once.
CALL_RETRIES = env.int("CALL_RETRIES", default=1)
#: A model that has failed so often in a row is asked last for so long; one that says how long, for that long at most.
COOL_DOWN_AFTER_FAILURES = env.int("COOL_DOWN_AFTER_FAILURES", default=3)
COOL_DOWN_S = env.float("COOL_DOWN_S", default=10.0)
MAX_COOL_DOWN_S = env.float("MAX_COOL_DOWN_S", default=60.0)
#: A worker whose heartbeat is older than this is taken for dead, and its calls for interrupted.
WORKER_HEARTBEAT_S = env.float("WORKER_HEARTBEAT_S", default=2.0)
WORKER_LOST_AFTER_S = env.float("WORKER_LOST_AFTER_S", default=10.0)
#: A folder that says where processes shall die (config.foundation.failpoints). For tests of crashes only.
FAILPOINTS = env.str("FAILPOINTS", default="")
if FAILPOINTS and not DEBUG:
    raise ImproperlyConfigured("FAILPOINTS kills processes: it is for tests, and needs DJANGO_DEBUG=1")
#: How long an Idempotency-Key is remembered.
IDEMPOTENCY_TTL_S = env.int("IDEMPOTENCY_TTL_S", default=48 * 3600)
#: For one attempt to deliver a webhook, from the connection to the answer.
WEBHOOK_TIMEOUT_S = env.float("WEBHOOK_TIMEOUT_S", default=10.0)
#: Between the attempts, each a fifth more or less: three days in all.
WEBHOOK_RETRY_DELAYS_S = [
    float(delay_s)
    for delay_s in env.list(
        "WEBHOOK_RETRY_DELAYS_S",
        default=["5", "300", "1800", "7200", "18000", "36000", "50400", "72000", "86400"],
    )
]
if not WEBHOOK_RETRY_DELAYS_S or min(WEBHOOK_RETRY_DELAYS_S) <= 0:
    raise ImproperlyConfigured("WEBHOOK_RETRY_DELAYS_S must be numbers of seconds, such as 5,300")
#: An endpoint that has only failed for so long is disabled.
WEBHOOK_DISABLE_AFTER_S = env.int("WEBHOOK_DISABLE_AFTER_S", default=5 * 24 * 3600)
#: How long events can be replayed.
WEBHOOK_EVENT_TTL_S = env.int("WEBHOOK_EVENT_TTL_S", default=30 * 24 * 3600)
#: Alerts (docs/operations.md): credits below which a team is told, percents of its credits used, percents of its jobs
#: and of a model's attempts that fail, of so many at least, within so long; and how long a margin is looked at.
CREDITS_LOW_THRESHOLDS = [int(threshold) for threshold in env.list("CREDITS_LOW_THRESHOLDS", default=["10"])]
BUDGET_ALERT_PERCENTS = [int(percent) for percent in env.list("BUDGET_ALERT_PERCENTS", default=["80", "100"])]
JOB_FAILURE_ALERT_PERCENT = env.int("JOB_FAILURE_ALERT_PERCENT", default=50)
MODEL_FAILURE_ALERT_PERCENT = env.int("MODEL_FAILURE_ALERT_PERCENT", default=50)
ALERT_LEAST_COUNT = env.int("ALERT_LEAST_COUNT", default=20)
ALERT_WINDOW_S = env.int("ALERT_WINDOW_S", default=900)
MARGIN_WINDOW_S = env.int("MARGIN_WINDOW_S", default=24 * 3600)
#: Who gets mail about all of them, besides an organization's own recipients.
ALERT_EMAILS = env.list("ALERT_EMAILS", default=[])
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("EMAIL_FROM", default="job-credits@localhost")
EMAIL_TIMEOUT = 20
#: Hosts and networks that webhooks may go to in strict mode although they are not public, or speak no TLS.
PRIVATE_WEBHOOK_HOSTS = env.list("PRIVATE_WEBHOOK_HOSTS", default=[])
#: Hosts and networks on private or loopback addresses that a model's `api_base` may name in strict mode.
PRIVATE_API_BASES = env.list("PRIVATE_API_BASES", default=[])

# --- LiteLLM Proxy ------------------------------------------------------------------------------------------

#: The operator's LiteLLM Proxy, such as http://127.0.0.1:4000, and its master key. Without, models are asked directly.
LITELLM_PROXY_URL = env.str("LITELLM_PROXY_URL", default="").rstrip("/").removesuffix("/v1")
LITELLM_MASTER_KEY = env.str("LITELLM_MASTER_KEY", default="")
if bool(LITELLM_PROXY_URL) != bool(LITELLM_MASTER_KEY):
    raise ImproperlyConfigured("LITELLM_PROXY_URL and LITELLM_MASTER_KEY go together")
if LITELLM_PROXY_URL and not LITELLM_PROXY_URL.startswith(("http://", "https://")):
    raise ImproperlyConfigured("LITELLM_PROXY_URL must be an http or https URL")
#: Marks what is ours at the proxy. Installations that share one proxy need different names.
LITELLM_PROXY_OWNER = env.str("LITELLM_PROXY_OWNER", default="job-credits")
#: For one request to the proxy's admin API.
PROXY_TIMEOUT_S = env.float("PROXY_TIMEOUT_S", default=5.0)
#: How long a new team's answer waits until its key works at the proxy.
PROXY_WAIT_S = env.float("PROXY_WAIT_S", default=3.0)
#: The longest pause between two tries to bring a team in step.
PROXY_MAX_BACKOFF_S = env.float("PROXY_MAX_BACKOFF_S", default=30.0)
PROXY_SYNC_INTERVAL_S = env.float("PROXY_SYNC_INTERVAL_S", default=1.0)
PROXY_RECONCILE_INTERVAL_S = env.float("PROXY_RECONCILE_INTERVAL_S", default=300.0)
PROXY_SPEND_INTERVAL_S = env.float("PROXY_SPEND_INTERVAL_S", default=60.0)
if LITELLM_PROXY_URL:
    CELERY_BEAT_SCHEDULE |= {
        f"{name.replace('_', ' ')}": {
            "task": f"billing.{name}",
            "schedule": interval_s,
            "options": {"expires": interval_s},
        }
        for name, interval_s in {
            "sync_proxy": PROXY_SYNC_INTERVAL_S,
            "reconcile_proxy": PROXY_RECONCILE_INTERVAL_S,
            "read_proxy_spend": PROXY_SPEND_INTERVAL_S,
        }.items()
    }
