"""A user's limits are counted and enforced where jobs are opened and calls are admitted (docs/adr/0064).

Each function locks the limit's row first and reads afterwards, in a statement and so with a snapshot of its own: what
was counted under the lock before has committed by then. Where the month is another than the row's, or nothing was ever
counted, it counts the rows there are; else it adds to what was counted. Whoever gives back locks the row, too, even if
it belongs to another month: else a count in the same moment would miss it.

Locks are taken in one order everywhere: the account, its users' credits; the budget, its users' costs. A job's trigger
runs after its statement, in which the hold has locked the account.
"""

from django.db import migrations

#: The month of a moment, in UTC. Its first day.
MONTH = """
CREATE FUNCTION jobs_month_of(moment timestamptz) RETURNS date LANGUAGE sql STABLE AS $$
    SELECT date_trunc('month', moment AT TIME ZONE 'UTC')::date
$$;
"""

CREDITS = """
CREATE FUNCTION jobs_take_user_credit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    the_limit tenancy_userlimit;
    the_month date := jobs_month_of(NEW.created_at);
BEGIN
    SELECT * INTO the_limit FROM tenancy_userlimit
    WHERE user_id = NEW.team_user_id AND kind = 'credits' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF the_limit.month IS DISTINCT FROM the_month THEN
        SELECT COALESCE(sum(h.amount), 0) INTO the_limit.taken
        FROM jobs_job j JOIN billing_credithold h ON h.job_id = j.id
        WHERE j.team_user_id = NEW.team_user_id AND j.created_at >= the_month::timestamp AT TIME ZONE 'UTC'
            AND j.created_at < (the_month + interval '1 month') AT TIME ZONE 'UTC'
            AND h.state IN ('held', 'captured');
    ELSE
        SELECT the_limit.taken + h.amount INTO the_limit.taken FROM billing_credithold h WHERE h.job_id = NEW.id;
    END IF;
    IF the_limit.taken > the_limit.amount THEN
        RAISE EXCEPTION 'user % has used his credits of the month', NEW.team_user_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'user_keeps_to_his_credits';
    END IF;
    UPDATE tenancy_userlimit SET month = the_month, taken = the_limit.taken WHERE id = the_limit.id;
    RETURN NULL;
END $$;

CREATE FUNCTION jobs_give_user_credit_back() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    the_job jobs_job;
    the_limit tenancy_userlimit;
BEGIN
    SELECT * INTO the_job FROM jobs_job WHERE id = NEW.job_id AND team_user_id IS NOT NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO the_limit FROM tenancy_userlimit
    WHERE user_id = the_job.team_user_id AND kind = 'credits' FOR NO KEY UPDATE;
    IF the_limit.month = jobs_month_of(the_job.created_at) THEN
        UPDATE tenancy_userlimit SET taken = taken - NEW.amount WHERE id = the_limit.id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER take_user_credit AFTER INSERT ON jobs_job
    FOR EACH ROW WHEN (NEW.team_user_id IS NOT NULL) EXECUTE FUNCTION jobs_take_user_credit();
CREATE TRIGGER give_user_credit_back AFTER UPDATE OF state ON billing_credithold
    FOR EACH ROW WHEN (OLD.state = 'held' AND NEW.state IN ('released', 'expired'))
    EXECUTE FUNCTION jobs_give_user_credit_back();
"""

_OPEN = "CASE WHEN ended_at IS NULL THEN reserved_usd ELSE 0 END"
_DIRECT = "job_id IS NULL AND team_user_id IS NOT NULL"
_NEW = f"SELECT team_user_id, created_at, {_OPEN} AS reserved, cost_usd AS taken FROM after WHERE {_DIRECT}"  # noqa: S608 (our own constants)
_OLD = f"SELECT team_user_id, created_at, -{_OPEN}, -cost_usd FROM before WHERE {_DIRECT}"  # noqa: S608 (as above)


def _settling(name: str, *changes: str) -> str:
    """Give back and settle. Once per statement, in the order of the rows, as the budget's triggers; after these."""
    return f"""
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moved record;
    the_month date;
BEGIN
    FOR moved IN
        SELECT l.id AS limit_id, jobs_month_of(c.created_at) AS month, sum(c.reserved) AS reserved,
            sum(c.taken) AS taken
        FROM ({" UNION ALL ".join(changes)}) AS c (team_user_id, created_at, reserved, taken)
        JOIN tenancy_userlimit l ON l.user_id = c.team_user_id AND l.kind = 'direct_cost'
        GROUP BY 1, 2 HAVING sum(c.reserved) <> 0 OR sum(c.taken) <> 0
        ORDER BY 1, 2
    LOOP
        SELECT month INTO the_month FROM tenancy_userlimit WHERE id = moved.limit_id FOR NO KEY UPDATE;
        IF the_month = moved.month THEN
            UPDATE tenancy_userlimit SET reserved = reserved + moved.reserved, taken = taken + moved.taken
            WHERE id = moved.limit_id;
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
"""  # noqa: S608 (as above)


RESERVE = """
CREATE FUNCTION jobs_reserve_user_cost() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    call record;
    the_limit tenancy_userlimit;
    the_month date;
BEGIN
    FOR call IN
        SELECT c.team_user_id, c.created_at, c.reserved_usd, l.id AS limit_id
        FROM after c JOIN tenancy_userlimit l ON l.user_id = c.team_user_id AND l.kind = 'direct_cost'
        WHERE c.job_id IS NULL AND c.ended_at IS NULL
        ORDER BY l.id
    LOOP
        SELECT * INTO the_limit FROM tenancy_userlimit WHERE id = call.limit_id FOR NO KEY UPDATE;
        CONTINUE WHEN NOT FOUND;
        the_month := jobs_month_of(call.created_at);
        IF the_limit.month IS DISTINCT FROM the_month THEN
            SELECT COALESCE(sum(cost_usd), 0),
                COALESCE(sum(CASE WHEN ended_at IS NULL THEN reserved_usd ELSE 0 END), 0)
            INTO the_limit.taken, the_limit.reserved
            FROM jobs_call
            WHERE team_user_id = call.team_user_id AND job_id IS NULL
                AND created_at >= the_month::timestamp AT TIME ZONE 'UTC'
                AND created_at < (the_month + interval '1 month') AT TIME ZONE 'UTC';
        ELSE
            the_limit.reserved := the_limit.reserved + call.reserved_usd;
        END IF;
        -- As for the team's budget: estimates are high, so one call at a time passes while anything is left.
        IF the_limit.taken + the_limit.reserved > the_limit.amount
            AND NOT (the_limit.reserved = call.reserved_usd AND the_limit.taken < the_limit.amount) THEN
            RAISE EXCEPTION 'user % has used his USD of the month', call.team_user_id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'user_keeps_to_his_cost';
        END IF;
        UPDATE tenancy_userlimit SET month = the_month, taken = the_limit.taken, reserved = the_limit.reserved
        WHERE id = the_limit.id;
    END LOOP;
    RETURN NULL;
END $$;
"""

#: By their names they run after the budget's: PostgreSQL takes triggers of a kind in alphabetical order.
TRIGGERS = """
CREATE TRIGGER user_new_calls AFTER INSERT ON jobs_call
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION jobs_reserve_user_cost();
CREATE TRIGGER user_changed_calls AFTER UPDATE ON jobs_call
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION jobs_settle_user_cost();
CREATE TRIGGER user_deleted_calls AFTER DELETE ON jobs_call
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION jobs_give_user_cost_back();
"""
COSTS = (
    RESERVE + _settling("jobs_settle_user_cost", _NEW, _OLD) + _settling("jobs_give_user_cost_back", _OLD) + TRIGGERS
)

UNDO = """
DROP TRIGGER user_deleted_calls ON jobs_call;
DROP TRIGGER user_changed_calls ON jobs_call;
DROP TRIGGER user_new_calls ON jobs_call;
DROP TRIGGER give_user_credit_back ON billing_credithold;
DROP TRIGGER take_user_credit ON jobs_job;
DROP FUNCTION jobs_give_user_cost_back, jobs_settle_user_cost, jobs_reserve_user_cost, jobs_give_user_credit_back,
    jobs_take_user_credit;
DROP FUNCTION jobs_month_of;
"""


class Migration(migrations.Migration):
    """Creates the triggers."""

    dependencies = [("jobs", "0014_team_users"), ("billing", "0017_budget_rules")]

    operations = [migrations.RunSQL([MONTH, CREDITS + COSTS], UNDO)]
