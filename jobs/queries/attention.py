"""What somebody should look at and no alert tells of, and what a new installation still lacks."""

from dataclasses import dataclass

from django.db import connection

#: Where the counting of what is wrong ends: nobody needs to know it more exactly.
MOST = 1_000

#: Each by an index that has few rows. The sweepers come by every 5 and 30 s: what they have left for minutes, they will
#: not end by themselves.
_ATTENTION = """
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM jobs_job WHERE ended_at IS NULL AND expires_at < now() - interval '5 minutes' LIMIT %(most)s
        ) AS found) AS stuck_jobs,
        (SELECT count(*) FROM (
            SELECT FROM jobs_call WHERE ended_at IS NULL AND deadline_at < now() - interval '2 minutes' LIMIT %(most)s
        ) AS found) AS stuck_calls,
        (SELECT count(*) FROM (
            SELECT FROM billing_proxydrift WHERE resolved_at IS NULL LIMIT %(most)s
        ) AS found) AS proxy_drifts,
        (SELECT count(*) FROM (
            SELECT FROM tenancy_webhookendpoint
            WHERE state = 'disabled' AND disabled_reason IN ('gone', 'failing') LIMIT %(most)s
        ) AS found) AS dead_webhooks,
        (SELECT count(*) FROM (
            SELECT FROM billing_refillupload WHERE state = 'waiting' LIMIT %(most)s
        ) AS found) AS waiting_refills,
        EXISTS (SELECT FROM tenancy_organization) AS has_organizations,
        EXISTS (SELECT FROM modelgroups_modelgroup) AS has_groups,
        EXISTS (SELECT FROM tenancy_team) AS has_teams,
        EXISTS (SELECT FROM jobs_job) AS has_jobs
"""


@dataclass(frozen=True)
class Attention:
    """Counts, of MOST at most; and whether there is anything at all."""

    stuck_jobs: int
    stuck_calls: int
    proxy_drifts: int
    dead_webhooks: int
    waiting_refills: int
    has_organizations: bool
    has_groups: bool
    has_teams: bool
    has_jobs: bool


def read_attention() -> Attention:
    """One query."""
    with connection.cursor() as cursor:
        cursor.execute(_ATTENTION, {"most": MOST})
        return Attention(*cursor.fetchone())
