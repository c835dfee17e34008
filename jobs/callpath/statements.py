"""The hot path's SQL. Each is one statement, in a transaction of its own, because each round trip counts.

They are SQL and not ORM for two reasons: an asyncio worker with a thousand calls in flight cannot give each a
Django connection, and each of them would be three to five ORM statements.
"""

from jobs.callpath.targets import NAMED_CREDENTIAL, TARGET_COLUMNS
from tenancy.services.users import SEE_USER

#: Check job, access, retry and budget, and insert the call, moving its job to in_progress. The job's row is locked
#: first: a job that is being ended at the same moment is seen either open (then its end sees this call) or ended.
#: Then the user's, if he is new, because the budget is joined with it. Then the budget's, which a trigger moves by what
#: the call is estimated at: its models' highest price for so many tokens. As estimates are high, one call at a time
#: passes while anything is left. `prices` has the models that have none of their own in their config: name → [input,
#: output], null where nobody knows it. Always returns one row; `call_id` is null where the call was refused, and the
#: other columns say why.
_ADMIT_CALL = """
    WITH in_flight AS (
        SELECT count(*) AS calls FROM (
            SELECT FROM jobs_call WHERE team_id = %(team_pk)s AND ended_at IS NULL
            LIMIT %(max_in_flight)s
        ) AS open
    ),
    job AS (
        -- job
    ),
    usable_group AS (
        -- group
    ),
    -- user
    asked AS (
        SELECT LEAST(max(
                %(input_tokens)s::bigint * price.input_usd
                + %(answers)s::bigint * price.output_usd * COALESCE(
                    %(output_tokens)s::bigint,
                    CASE WHEN %(is_chat)s::bool THEN (m.config ->> 'max_tokens')::bigint END,
                    %(output_default)s::bigint)
            ), 10000000) AS estimate_usd,
            array_agg(name.text) FILTER (WHERE price.input_usd IS NULL) AS unpriced
        FROM usable_group
        JOIN modelgroups_groupmodel m ON m.group_id = usable_group.id AND m.is_enabled
            AND (usable_group.model_name = '' OR m.model_name = usable_group.model_name)
        CROSS JOIN LATERAL (SELECT COALESCE(m.config ->> 'model', m.model_name) AS text) AS name
        CROSS JOIN LATERAL (
            SELECT COALESCE(m.config ->> 'input_cost_per_token', known.price ->> 0)::numeric AS input_usd,
                COALESCE(m.config ->> 'output_cost_per_token', known.price ->> 1)::numeric AS output_usd
            FROM (SELECT %(prices)s::jsonb -> name.text AS price) AS known
        ) AS price
    ),
    budget AS (
        SELECT b.spent_usd, b.reserved_usd, account.allocated * %(credit_price_usd)s::numeric AS limit_usd
        FROM job CROSS JOIN usable_group CROSS JOIN who
        JOIN billing_teambudget b ON b.team_id = %(team_pk)s
        JOIN billing_creditaccount account ON account.team_id = b.team_id
        WHERE %(is_held_to_budget)s::bool
        FOR NO KEY UPDATE OF b
    ),
    retried AS (
        SELECT c.state, EXISTS (SELECT FROM jobs_call r WHERE r.retry_of_id = c.id) AS is_retried FROM jobs_call c
        WHERE c.id = %(retry_of)s AND c.job_id = %(job_id)s
    ),
    admitted AS (
        INSERT INTO jobs_call
            (id, job_id, team_id, team_user_id, endpoint, group_id, model_group, model_name, purpose, retry_of_id,
             process_id, state, cause, error, is_late, prompt_tokens, completion_tokens, cost_usd, reserved_usd,
             finish_reason, created_at, deadline_at)
        SELECT %(call_id)s, job.id, %(team_pk)s, who.id, %(endpoint)s, usable_group.id, usable_group.group_name,
             usable_group.model_name, %(purpose)s, %(retry_of)s, %(process_id)s, 'queued', '', '', false, 0, 0, 0,
             CASE WHEN %(is_held_to_budget)s::bool THEN COALESCE(asked.estimate_usd, 0) ELSE 0 END, '',
             clock_timestamp(), clock_timestamp() + %(deadline)s
        FROM job, usable_group, in_flight, asked, who
        WHERE job.status IN ('pending', 'in_progress')
            AND who.status IS DISTINCT FROM 'blocked'
            AND in_flight.calls < %(max_in_flight)s
            AND asked.unpriced IS NULL
            AND (NOT %(is_held_to_budget)s::bool
                 OR EXISTS (
                     SELECT FROM budget
                     WHERE spent_usd + reserved_usd + COALESCE(asked.estimate_usd, 0) <= limit_usd
                         OR (reserved_usd = 0 AND spent_usd < limit_usd)))
            AND (%(retry_of)s::uuid IS NULL
                 OR EXISTS (
                     SELECT FROM retried
                     WHERE state IN ('failed', 'interrupted', 'cancelled') AND NOT is_retried))
        RETURNING id
    ),
    -- content
    started AS (
        UPDATE jobs_job SET status = 'in_progress', started_at = now()
        FROM admitted
        WHERE jobs_job.id = %(job_id)s AND jobs_job.status = 'pending'
    )
    SELECT
        (SELECT id FROM admitted) AS call_id,
        (SELECT status FROM job) AS job_status,
        (SELECT id FROM usable_group) AS group_id,
        (SELECT status FROM who) AS user_status,
        (SELECT state FROM retried) AS retried_state,
        (SELECT is_retried FROM retried) AS is_retried,
        (SELECT calls FROM in_flight) AS in_flight,
        asked.unpriced, asked.estimate_usd, budget.spent_usd, budget.reserved_usd, budget.limit_usd
    FROM asked LEFT JOIN budget ON true
"""
_OPEN_JOB = """
        SELECT id, status, team_user_id FROM jobs_job
        -- "+ 0" keeps the index of team_id out of it: a plan made for a team's first job must serve its millionth.
        WHERE id = %(job_id)s AND team_id + 0 = %(team_pk)s
        FOR NO KEY UPDATE
"""
#: A direct call has none.
_NO_JOB = "SELECT %(job_id)s::uuid AS id, 'in_progress' AS status, NULL::bigint AS team_user_id"
#: One row always, of nulls where there is no user.
_USER_OF_JOB = """
    who AS (
        SELECT u.id, u.status
        FROM (SELECT) AS one LEFT JOIN job ON true LEFT JOIN tenancy_teamuser u ON u.id = job.team_user_id
    ),
"""
_IF_NEW = """
        FROM job CROSS JOIN usable_group
        WHERE %(user_id)s <> '' AND job.status IN ('pending', 'in_progress')
            AND NOT EXISTS (SELECT FROM known WHERE is_fresh)
"""
#: Whom the call names, else the job's.
_NAMED_USER = f"""
    {SEE_USER.replace("-- where", _IF_NEW.strip())},
    who AS (
        SELECT COALESCE(seen.id, known.id, theirs.id) AS id,
            COALESCE(seen.status, known.status, theirs.status) AS status
        FROM (SELECT) AS one LEFT JOIN seen ON true LEFT JOIN known ON true LEFT JOIN job ON true
        LEFT JOIN tenancy_teamuser theirs ON theirs.id = job.team_user_id AND %(user_id)s = ''
    ),
"""  # noqa: S608 (parts of our own)
_GROUP_BY_NAME = """
        SELECT g.id, g.group_name, '' AS model_name FROM modelgroups_modelgroup g
        JOIN modelgroups_groupassignment a ON a.group_id = g.id AND a.team_id = %(team_pk)s
        WHERE g.group_name = %(model_group)s AND g.status = 'active'
"""
#: What an OpenAI client calls `model`: a model's name, of which the team's first group that has it is taken, or a
#: group's.
_GROUP_BY_MODEL = """
        SELECT g.id, g.group_name, COALESCE(m.model_name, '') AS model_name FROM modelgroups_groupassignment a
        JOIN modelgroups_modelgroup g ON g.id = a.group_id AND g.status = 'active'
        LEFT JOIN modelgroups_groupmodel m ON m.group_id = g.id AND m.is_enabled AND m.model_name = %(model_group)s
        WHERE a.team_id = %(team_pk)s AND (m.id IS NOT NULL OR g.group_name = %(model_group)s)
        ORDER BY m.id IS NULL, a.position, a.id, m.priority, m.position
        LIMIT 1
"""


def _admit(*, job: str, group: str, user: str, content: str = "") -> str:
    parts = (("-- job", job), ("-- group", group), ("-- user", user), ("-- content", content))
    statement = _ADMIT_CALL
    for mark, part in parts:
        statement = statement.replace(mark, part.strip())
    return statement


ADMIT_CALL = _admit(job=_OPEN_JOB, group=_GROUP_BY_NAME, user=_USER_OF_JOB)
#: The same for OpenAI clients, in a job or without.
ADMIT_OPENAI_CALL = _admit(job=_OPEN_JOB, group=_GROUP_BY_MODEL, user=_NAMED_USER)
ADMIT_DIRECT_CALL = _admit(job=_NO_JOB, group=_GROUP_BY_MODEL, user=_NAMED_USER)

#: The same for an asynchronous call, whose request is kept until a worker has ended it.
#: Where it has an Idempotency-Key, what is answered at once is stored under it.
ADMIT_STORED_CALL = _admit(
    job=_OPEN_JOB,
    group=_GROUP_BY_NAME,
    user=_USER_OF_JOB,
    content="""
    content AS (
        INSERT INTO jobs_callcontent (call_id, request, published_at)
        SELECT id, %(content)s, clock_timestamp() FROM admitted
    ),
    key AS (
        UPDATE tenancy_idempotencyrecord SET reply = %(key_reply)s
        FROM admitted WHERE scope = %(key_scope)s AND key = %(key)s AND claimed_for = admitted.id
    ),
    """,
)

#: The client of a stream left before a worker took the call.
CANCEL_QUEUED_CALL = """
    WITH job AS (
        SELECT j.status IN ('completed', 'failed') AS has_ended FROM jobs_job j JOIN jobs_call c ON c.job_id = j.id
        WHERE c.id = %(call_id)s
        FOR SHARE OF j
    )
    UPDATE jobs_call SET state = 'cancelled', cause = %(cause)s, error = %(error)s, ended_at = clock_timestamp(),
        is_late = ended.job_has_ended
    FROM (SELECT COALESCE((SELECT has_ended FROM job), false) AS job_has_ended) AS ended
    WHERE id = %(call_id)s AND state = 'queued'
    RETURNING id
"""

#: A call that could not be handed to the broker was never dispatched, so no record of it stays
#: (contract, "Jobs and credits"). Returns no row where a worker has taken it after all.
WITHDRAW_CALL = """
    DELETE FROM jobs_call WHERE id = %(call_id)s AND state = 'queued' RETURNING id
"""

#: Whether there is a call at all.
CALL_IS_ON_RECORD = "SELECT id FROM jobs_call WHERE id = %(call_id)s"

#: Take queued calls, and read their groups' models with them. No row: somebody else has the call (a message delivered
#: twice), or it was withdrawn or swept. A group without models gives one row with nulls. A process that did not hear
#: whether it has got a call, because the database went away just then, may ask again.
CLAIM_CALLS = f"""
    WITH claimed AS (
        UPDATE jobs_call SET state = 'running', process_id = %(process_id)s, started_at = clock_timestamp()
        WHERE id = ANY(%(call_ids)s) AND deadline_at > clock_timestamp()
            AND (state = 'queued' OR (state = 'running' AND process_id = %(process_id)s))
        RETURNING id, group_id, model_name, team_id,
            EXTRACT(EPOCH FROM deadline_at - clock_timestamp())::float8 AS remaining_s
    )
    SELECT claimed.id AS call_id, claimed.remaining_s, t.keep_content_s,
           {TARGET_COLUMNS},
           p.platform_key_encrypted, p.wanted_version = p.synced_version AS is_in_step
    FROM claimed
    JOIN tenancy_team t ON t.id = claimed.team_id
    LEFT JOIN billing_proxyteam p ON p.team_id = claimed.team_id
    LEFT JOIN modelgroups_groupmodel m ON m.group_id = claimed.group_id AND m.is_enabled
        AND (claimed.model_name = '' OR m.model_name = claimed.model_name)
    {NAMED_CREDENTIAL}
    ORDER BY claimed.id, m.priority, m.position
"""  # noqa: S608 (parts of our own)

#: LiteLLM Proxy did not know the key or the model of the call's team: have it compared, and read the key again.
SUSPECT_PROXY_TEAM = """
    UPDATE billing_proxyteam p SET is_suspect = true, next_try_at = LEAST(p.next_try_at, now())
    FROM jobs_call c WHERE c.id = %(call_id)s AND p.team_id = c.team_id
    RETURNING p.platform_key_encrypted
"""

#: What an asynchronous call asks.
STORED_REQUEST = """
    SELECT content.request, CASE WHEN j.ends_with_call THEN j.id END AS ends_job
    FROM jobs_callcontent content
    JOIN jobs_call c ON c.id = content.call_id
    JOIN jobs_job j ON j.id = c.job_id
    WHERE content.call_id = %(call_id)s
"""

#: Record the attempts of calls and how each ended. The jobs' rows are share-locked first, so that `is_late` and the
#: job's end agree on who came first. A call that the sweeper has ended meanwhile keeps that state, but gains
#: the attempts, tokens and cost: what was spent is always on record.
_RECORD_OUTCOMES = """
    WITH outcome AS (
        SELECT * FROM jsonb_to_recordset(%(outcomes)s::jsonb) AS o
            (call_id uuid, state text, cause text, error text, latency_ms integer, finish_reason text,
             prompt_tokens bigint, completion_tokens bigint, cost_usd numeric, attempts jsonb)
    ),
    job AS (
        SELECT o.call_id, j.status IN ('completed', 'failed') AS has_ended
        FROM outcome o JOIN jobs_call c ON c.id = o.call_id JOIN jobs_job j ON j.id = c.job_id
        ORDER BY j.id
        FOR SHARE OF j
    ),
    attempt AS (
        INSERT INTO jobs_attempt
            (call_id, sequence, model_name, outcome, cause, error_class, http_status, latency_ms, prompt_tokens,
             completion_tokens, cost_usd, usage_is_estimated, started_at)
        SELECT o.call_id, a.sequence, a.model_name, a.outcome, a.cause, a.error_class, a.http_status, a.latency_ms,
             a.prompt_tokens, a.completion_tokens, a.cost_usd, a.usage_is_estimated, a.started_at
        FROM outcome o CROSS JOIN LATERAL jsonb_to_recordset(o.attempts) AS a
            (sequence smallint, model_name text, outcome text, cause text, error_class text, http_status smallint,
             latency_ms integer, prompt_tokens bigint, completion_tokens bigint, cost_usd numeric,
             usage_is_estimated boolean, started_at timestamptz)
    )
    -- more
    UPDATE jobs_call c
    SET state = CASE WHEN c.state = 'running' THEN o.state ELSE c.state END,
        cause = CASE WHEN c.state = 'running' THEN o.cause ELSE c.cause END,
        error = CASE WHEN c.state = 'running' THEN o.error ELSE c.error END,
        ended_at = CASE WHEN c.state = 'running' THEN clock_timestamp() ELSE c.ended_at END,
        latency_ms = CASE WHEN c.state = 'running' THEN o.latency_ms ELSE c.latency_ms END,
        is_late = c.is_late OR (c.state = 'running' AND COALESCE(job.has_ended, false)),
        finish_reason = o.finish_reason,
        prompt_tokens = c.prompt_tokens + o.prompt_tokens,
        completion_tokens = c.completion_tokens + o.completion_tokens,
        cost_usd = c.cost_usd + o.cost_usd
    FROM outcome o LEFT JOIN job ON job.call_id = o.call_id
    WHERE c.id = o.call_id
    RETURNING c.id, c.state, c.cause
"""
RECORD_OUTCOMES = _RECORD_OUTCOMES.replace("-- more", "")
#: What was asked and answered, where that is kept (null where not) and for how long. Of a call that was taken for
#: lost, too, but not if it was a user's, or in the job of one, who is being erased: nobody would look at it again.
_CONTENT = """
    , content AS (
        INSERT INTO jobs_callcontent (call_id, request, answer, erase_at)
        SELECT c.id, %(content)s::bytea, %(answer)s::bytea, now() + make_interval(secs => %(keep_s)s)
        FROM jobs_call c LEFT JOIN jobs_job j ON j.id = c.job_id
        WHERE c.id = %(call_id)s
            AND (c.state = 'running' OR NOT EXISTS (
                SELECT FROM tenancy_teamuser u
                WHERE u.id IN (c.team_user_id, j.team_user_id) AND u.status IN ('erasing', 'erased')))
        ON CONFLICT (call_id) DO UPDATE
        SET request = EXCLUDED.request, answer = EXCLUDED.answer, erase_at = EXCLUDED.erase_at
    )
"""
#: The answer under its Idempotency-Key, or the key given back where there is none; unless the sweeper was faster,
#: because then the key may be somebody else's by now.
_KEY = """
    , claim AS (
        SELECT r.id FROM tenancy_idempotencyrecord r JOIN jobs_call c ON c.id = r.claimed_for
        WHERE r.scope = %(key_scope)s AND r.key = %(key)s AND c.id = %(call_id)s AND c.state = 'running'
    ),
    kept AS (
        UPDATE tenancy_idempotencyrecord r SET reply = %(key_reply)s
        FROM claim WHERE r.id = claim.id AND %(key_reply)s::bytea IS NOT NULL
    ),
    given_back AS (
        DELETE FROM tenancy_idempotencyrecord r
        USING claim WHERE r.id = claim.id AND %(key_reply)s::bytea IS NULL
    )
"""


def record_one_outcome(*, content: bool, key: bool) -> str:
    """Record one outcome, with what has to be kept with it: the parameters of `content`, of the Idempotency-Key."""
    return _RECORD_OUTCOMES.replace("-- more", (_CONTENT if content else "") + (_KEY if key else ""))


#: What has become of these calls, but for those that run: the look that covers a lost message, either way.
CALLS_THAT_DO_NOT_RUN = """
    SELECT id, state, cause FROM jobs_call WHERE id = ANY(%(call_ids)s) AND state <> 'running'
"""

#: How many calls wait for a worker.
QUEUED_CALLS = "SELECT count(*) AS calls FROM jobs_call WHERE state = 'queued' AND ended_at IS NULL"

HEARTBEAT = """
    INSERT INTO jobs_callprocess (id, name, started_at, heartbeat_at) VALUES (%(process_id)s, %(name)s, now(), now())
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
"""

LEAVE = "DELETE FROM jobs_callprocess WHERE id = %(process_id)s"
