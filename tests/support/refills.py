"""Many teams to refill, and processes that are killed while they do it."""

import os
import signal
import subprocess
import time
from pathlib import Path

from django.db import connection

from billing.models import Refill
from tests.support.api import make_tenant

ROOT = Path(__file__).resolve().parents[2]


def many_teams(count: int) -> None:
    """In one statement: opening that many teams by the service would take longer than the test."""
    make_tenant("base", credits_allocated=0, groups=[])
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH team AS (
                INSERT INTO tenancy_team
                    (organization_id, team_id, team_alias, status, metadata, created_at, updated_at)
                SELECT organization_id, 'many-' || n, '', 'active', '{}', now(), now()
                FROM tenancy_team, generate_series(1, %s) n
                RETURNING id
            )
            INSERT INTO billing_creditaccount (team_id, allocated, used, held, last_sequence, auto_refill, created_at)
            SELECT id, 0, 0, 0, 0, false, now() FROM team
            """,
            [count],
        )


def environment() -> dict[str, str]:
    """For a process of its own on the database of the test."""
    of = connection.settings_dict
    url = f"postgresql://{of['USER']}:{of['PASSWORD']}@{of['HOST']}:{of['PORT']}/{of['NAME']}"
    return {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings"}


def kill_after(refills: int, command: list[str]) -> int:
    """Kill the process once it has made so many refills; how many it had made by then."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL)
    # On a busy machine, Django alone may take a minute to start.
    deadline = time.monotonic() + 240
    try:
        while Refill.objects.count() < refills:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return Refill.objects.count()
