"""The settings of what teams and keys may ask for: part of config.settings, which takes them all."""

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()

#: Calls of one team that may wait or run at once, unless the team has a number of its own. More: 429.
TEAM_CALLS_IN_FLIGHT = env.int("TEAM_CALLS_IN_FLIGHT", default=2000)
#: Limits of each team and each key that has none of its own (docs/adr/0062). 0: none.
TEAM_REQUESTS_PER_MINUTE = env.int("TEAM_REQUESTS_PER_MINUTE", default=0)
TEAM_TOKENS_PER_MINUTE = env.int("TEAM_TOKENS_PER_MINUTE", default=0)
KEY_REQUESTS_PER_MINUTE = env.int("KEY_REQUESTS_PER_MINUTE", default=0)
KEY_TOKENS_PER_MINUTE = env.int("KEY_TOKENS_PER_MINUTE", default=0)
KEY_CALLS_IN_FLIGHT = env.int("KEY_CALLS_IN_FLIGHT", default=0)
if (
    min(
        TEAM_REQUESTS_PER_MINUTE,
        TEAM_TOKENS_PER_MINUTE,
        KEY_REQUESTS_PER_MINUTE,
        KEY_TOKENS_PER_MINUTE,
        KEY_CALLS_IN_FLIGHT,
    )
    < 0
):
    raise ImproperlyConfigured("Limits of teams and keys must not be negative; 0 is no limit")
#: How long their minute is: for tests, which have no time for a real one.
RATE_LIMIT_WINDOW_S = env.int("RATE_LIMIT_WINDOW_S", default=60)
if not 1 <= RATE_LIMIT_WINDOW_S <= 60:
    raise ImproperlyConfigured("RATE_LIMIT_WINDOW_S must be from 1 to 60")
#: How many proxies in front of web add to X-Forwarded-For: a key may be restricted to networks that it is used from.
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
if TRUSTED_PROXIES < 0:
    raise ImproperlyConfigured("TRUSTED_PROXIES must not be negative")
