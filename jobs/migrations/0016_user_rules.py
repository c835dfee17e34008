"""A user's limits are counted and enforced where jobs are opened and calls are admitted (docs/adr/0064).

What is there is counted when a limit is set, under the lock of the account or the budget, so that whoever opens a job
or admits a call in that moment is either counted or sees the limit. From then on each function locks the limit's row
first and reads afterwards, in a statement and so with a snapshot of its own: what was counted under the lock before has
committed by then. Where the month is another than the row's, it counts the rows there are, which at a month's turn are
few; else it adds to what was counted. Whoever gives back locks the row, too, even if it belongs to another month: else
a count in the same moment would miss it.

Locks are taken in one order everywhere: the account, its users' credits; the budget, its users' costs. A job's trigger
runs after its statement, in which the hold has locked the account. All run once per statement, and take the limits in
their order.
"""

from django.db import migrations

_MONTH = """
    created_at >= the_month::timestamp AT TIME ZONE 'UTC'
    AND created_at < (the_month + interval '1 month') AT TIME ZONE 'UTC'
"""
#: The month of a moment, in UTC: its first day. And what a user has used in one.
COUNTS = f"""
CREATE FUNCTION jobs_month_of(moment timestamptz) RETURNS date LANGUAGE sql STABLE AS $$
    SELECT date_trunc('month', moment AT TIME ZONE 'UTC')::date
$$;

CREATE FUNCTION jobs_user_credits(the_user bigint, the_month date) RETURNS numeric LANGUAGE sql STABLE AS $$
    SELECT COALESCE(sum(h.amount), 0)
    FROM (SELECT id FROM jobs_job WHERE team_user_id = the_user AND {_MONTH}) AS j
    JOIN billing_credithold h ON h.job_id = j.id
    WHERE h.state IN ('held', 'captured')
$$;

CREATE FUNCTION jobs_user_costs(the_user bigint, the_month date, OUT taken numeric, OUT reserved numeric)
LANGUAGE sql STABLE AS $$
    SELECT COALESCE(sum(cost_usd), 0), COALESCE(sum(CASE WHEN ended_at IS NULL THEN reserved_usd ELSE 0 END), 0)
    FROM jobs_call
    WHERE team_user_id = the_user AND job_id IS NULL AND {_MONTH}
$$;

CREATE FUNCTION jobs_count_for_limit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.month := jobs_month_of(now());
    IF NEW.kind = 'credits' THEN
        PERFORM FROM billing_creditaccount a JOIN tenancy_teamuser u ON u.team_id = a.team_id
        WHERE u.id = NEW.user_id FOR NO KEY UPDATE OF a;
        SELECT jobs_user_credits(NEW.user_id, NEW.month) INTO NEW.taken;
    ELSE
        PERFORM FROM billing_teambudget b JOIN tenancy_teamuser u ON u.team_id = b.team_id
        WHERE u.id = NEW.user_id FOR NO KEY UPDATE OF b;
        SELECT c.taken, c.reserved INTO NEW.taken, NEW.reserved FROM jobs_user_costs(NEW.user_id, NEW.month) AS c;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER count_for_limit BEFORE INSERT ON tenancy_userlimit
    FOR EACH ROW EXECUTE FUNCTION jobs_count_for_limit();
"""  # noqa: S608 (our own constants)

CREDITS = """
CREATE FUNCTION jobs_take_user_credit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    opened record;
    the_limit tenancy_userlimit;
BEGIN
    FOR opened IN
        SELECT l.id AS limit_id, jobs_month_of(j.created_at) AS month, array_agg(j.id) AS ids
        FROM after j JOIN tenancy_userlimit l ON l.user_id = j.team_user_id AND l.kind = 'credits'
        GROUP BY 1, 2
        ORDER BY 1, 2
    LOOP
        SELECT * INTO the_limit FROM tenancy_userlimit WHERE id = opened.limit_id FOR NO KEY UPDATE;
        CONTINUE WHEN NOT FOUND;
        IF the_limit.month IS DISTINCT FROM opened.month THEN
            SELECT jobs_user_credits(the_limit.user_id, opened.month) INTO the_limit.taken;
        ELSE
            SELECT the_limit.taken + COALESCE(sum(h.amount), 0) INTO the_limit.taken
            FROM billing_credithold h WHERE h.job_id = ANY (opened.ids);
        END IF;
        IF the_limit.taken > the_limit.amount THEN
            RAISE EXCEPTION 'user % has used his credits of the month', the_limit.user_id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'user_keeps_to_his_credits';
        END IF;
        UPDATE tenancy_userlimit SET month = opened.month, taken = the_limit.taken WHERE id = the_limit.id;
    END LOOP;
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
    REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION jobs_take_user_credit();
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
    admitted record;
    the_limit tenancy_userlimit;
BEGIN
    FOR admitted IN
        SELECT l.id AS limit_id, jobs_month_of(c.created_at) AS month, sum(c.reserved_usd) AS usd
        FROM after c JOIN tenancy_userlimit l ON l.user_id = c.team_user_id AND l.kind = 'direct_cost'
        WHERE c.job_id IS NULL AND c.ended_at IS NULL
        GROUP BY 1, 2
        ORDER BY 1, 2
    LOOP
        SELECT * INTO the_limit FROM tenancy_userlimit WHERE id = admitted.limit_id FOR NO KEY UPDATE;
        CONTINUE WHEN NOT FOUND;
        IF the_limit.month IS DISTINCT FROM admitted.month THEN
            SELECT c.taken, c.reserved INTO the_limit.taken, the_limit.reserved
            FROM jobs_user_costs(the_limit.user_id, admitted.month) AS c;
        ELSE
            the_limit.reserved := the_limit.reserved + admitted.usd;
        END IF;
        -- As for the team's budget: estimates are high, so one call at a time passes while anything is left.
        IF the_limit.taken + the_limit.reserved > the_limit.amount
            AND NOT (the_limit.reserved = admitted.usd AND the_limit.taken < the_limit.amount) THEN
            RAISE EXCEPTION 'user % has used his USD of the month', the_limit.user_id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'user_keeps_to_his_cost';
        END IF;
        UPDATE tenancy_userlimit
        SET month = admitted.month, taken = the_limit.taken, reserved = the_limit.reserved
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
DROP TRIGGER count_for_limit ON tenancy_userlimit;
DROP FUNCTION jobs_give_user_cost_back, jobs_settle_user_cost, jobs_reserve_user_cost, jobs_give_user_credit_back,
    jobs_take_user_credit, jobs_count_for_limit;
DROP FUNCTION jobs_user_costs, jobs_user_credits, jobs_month_of;
"""


class Migration(migrations.Migration):
    """Creates the triggers."""

    dependencies = [("jobs", "0015_indexes_for_users"), ("billing", "0017_budget_rules")]

    operations = [migrations.RunSQL([COUNTS, CREDITS + COSTS], UNDO)]
