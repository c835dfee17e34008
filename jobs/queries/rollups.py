"""The statements that sum up a day, made from a description of each rollup.

Each is one statement: it changes the rows that differ, adds those that are new and deletes those that are gone, so that
a round over an unchanged day writes nothing. Sums of all teams together come with those by team (GROUPING SETS).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.models.day_rollup import LATENCY_BOUNDS_MS


@dataclass(frozen=True)
class Rollup:
    """`source` has the day's rows, summed up by `keys` or finer; `sums` are their columns and how to add them up."""

    table: str
    keys: Sequence[str]
    sums: dict[str, str]
    source: str


_BUCKET = f"width_bucket(latency_ms, ARRAY{list(LATENCY_BOUNDS_MS)})"
#: An open call has no latency yet, and is in no bucket.
_BUCKETS = "ARRAY[{}]".format(
    ", ".join(f"COALESCE(sum(n) FILTER (WHERE bucket = {n}), 0)" for n in range(len(LATENCY_BOUNDS_MS) + 1))
)

ROLLUPS = (
    Rollup(
        "jobs_jobday",
        ("job_type", "status"),
        {"jobs": "sum(n)"},
        """
        SELECT team_id, job_type, status, count(*) AS n FROM jobs_job
        WHERE created_at >= %(start)s AND created_at < %(end)s GROUP BY 1, 2, 3
        """,
    ),
    Rollup(
        "jobs_callday",
        ("state", "cause"),
        {"calls": "sum(n)", "latency_buckets": _BUCKETS},
        f"""
        SELECT team_id, state, cause, {_BUCKET} AS bucket, count(*) AS n FROM jobs_call
        WHERE created_at >= %(start)s AND created_at < %(end)s GROUP BY 1, 2, 3, 4
        """,  # noqa: S608 (constants of ours, as all below)
    ),
    Rollup(
        "jobs_modelday",
        ("model_name",),
        {
            "attempts": "sum(n)",
            "failures": "sum(failures)",
            "prompt_tokens": "sum(prompt_tokens)",
            "completion_tokens": "sum(completion_tokens)",
            "cost_usd": "sum(cost_usd)",
            "latency_buckets": _BUCKETS,
        },
        f"""
        SELECT c.team_id, a.model_name, {_BUCKET.replace("latency_ms", "a.latency_ms")} AS bucket, count(*) AS n,
            count(*) FILTER (WHERE a.outcome = 'failed') AS failures, sum(a.prompt_tokens) AS prompt_tokens,
            sum(a.completion_tokens) AS completion_tokens, COALESCE(sum(a.cost_usd), 0) AS cost_usd
        FROM jobs_attempt a JOIN jobs_call c ON c.id = a.call_id
        WHERE a.started_at >= %(start)s AND a.started_at < %(end)s GROUP BY 1, 2, 3
        """,  # noqa: S608
    ),
    Rollup(
        "jobs_creditday",
        (),
        {"entries": "sum(n)", "used": "sum(used)", "added": "sum(added)", "removed": "sum(removed)"},
        """
        SELECT account_id AS team_id, count(*) AS n,
            COALESCE(-sum(amount) FILTER (WHERE kind = 'deduction'), 0) AS used,
            COALESCE(sum(amount) FILTER (WHERE kind <> 'deduction' AND amount > 0), 0) AS added,
            COALESCE(-sum(amount) FILTER (WHERE kind <> 'deduction' AND amount < 0), 0) AS removed
        FROM billing_ledgerentry
        WHERE created_at >= %(start)s AND created_at < %(end)s GROUP BY 1
        """,
    ),
)


def statement(rollup: Rollup) -> str:
    """What brings a rollup of one day, %(day)s from %(start)s to %(end)s, to what its rows are."""
    table = rollup.table
    keys = ["team_id", *rollup.keys]
    columns = ", ".join(["day", *keys, *rollup.sums])
    sums = ", ".join(f"{how} AS {column}" for column, how in rollup.sums.items())
    # Null is the sum of all teams: no team has the number 0, and a join by "is not distinct from" would be slow.
    same = " AND ".join(f"COALESCE({table}.{key}, 0) = COALESCE(fresh.{key}, 0)" for key in keys[:1])
    same += "".join(f" AND {table}.{key} = fresh.{key}" for key in rollup.keys)
    return f"""
        WITH source AS ({rollup.source}),
        fresh AS (
            SELECT {", ".join(keys)}, {sums} FROM source
            GROUP BY GROUPING SETS (({", ".join(keys)}), ({", ".join(rollup.keys)}))
            -- The empty set of keys makes a row of nothing where there are no rows.
            HAVING count(*) > 0
        ),
        gone AS (
            DELETE FROM {table} WHERE day = %(day)s AND NOT EXISTS (SELECT FROM fresh WHERE {same})
        )
        INSERT INTO {table} ({columns}) SELECT %(day)s, {columns.removeprefix("day, ")} FROM fresh
        ON CONFLICT (team_id, day{"".join(f", {key}" for key in rollup.keys)}) DO UPDATE
        SET {", ".join(f"{column} = EXCLUDED.{column}" for column in rollup.sums)}
        WHERE ({", ".join(f"{table}.{column}" for column in rollup.sums)})
            IS DISTINCT FROM ({", ".join(f"EXCLUDED.{column}" for column in rollup.sums)})
    """  # noqa: S608


STATEMENTS = tuple(statement(rollup) for rollup in ROLLUPS)

#: Rows for the days since the last round, today's among them; for all days in the first. A day that has one is not
#: forgotten, whatever dies.
BEGIN_DAYS = """
    INSERT INTO jobs_rollupday (day, is_closed)
    SELECT generate_series(
        COALESCE(
            last.day,
            LEAST(
                (SELECT (min(created_at) AT TIME ZONE 'UTC')::date FROM jobs_job),
                (SELECT (min(created_at) AT TIME ZONE 'UTC')::date FROM billing_ledgerentry),
                today.day
            )
        ), today.day, interval '1 day'
    )::date, false
    FROM (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS day) AS today,
         (SELECT max(day) AS day FROM jobs_rollupday) AS last
    ON CONFLICT DO NOTHING
"""

#: The newest first: that is what people look at.
DUE_DAYS = """
    SELECT day FROM jobs_rollupday WHERE NOT is_closed
    UNION SELECT DISTINCT day FROM jobs_latechange
    ORDER BY day DESC LIMIT %(most)s
"""

#: Read before the day's rows are. All whose id is below the first are over, so the rows that they wrote are read.
#: The statement's time is from before its snapshot: what is over by it has no writer that the snapshot does not know.
HORIZON = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_running,
           pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_id,
           %(day)s < (statement_timestamp() AT TIME ZONE 'UTC')::date AS is_over
"""

#: The first look at a day that is over says from which id on its rows are marked; a later one may close it.
END_ROUND = """
    INSERT INTO jobs_rollupday AS r (day, closing_xid, is_closed, rolled_up_at)
    VALUES (%(day)s, CASE WHEN %(is_over)s THEN %(next_id)s::bigint END, false, clock_timestamp())
    ON CONFLICT (day) DO UPDATE
    SET closing_xid = CASE WHEN %(is_over)s THEN COALESCE(r.closing_xid, EXCLUDED.closing_xid) END,
        is_closed = r.is_closed OR (%(is_over)s AND COALESCE(r.closing_xid <= %(oldest_running)s, false)),
        rolled_up_at = EXCLUDED.rolled_up_at
"""
