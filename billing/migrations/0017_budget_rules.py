"""A budget comes with its account, and changes by the team's calls only (jobs' migration budget_rules)."""

from django.db import migrations

RULES = """
CREATE FUNCTION billing_guard_budget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF (NEW.spent_usd, NEW.reserved_usd) IS DISTINCT FROM (0::numeric, 0::numeric) THEN
            RAISE EXCEPTION 'a budget starts unspent'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'budget_starts_unspent';
        END IF;
    ELSIF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'budgets change by calls only'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'budget_is_derived';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_budget BEFORE INSERT OR UPDATE ON billing_teambudget
    FOR EACH ROW EXECUTE FUNCTION billing_guard_budget();

CREATE FUNCTION billing_open_budget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing_teambudget (team_id, spent_usd, reserved_usd) VALUES (NEW.team_id, 0, 0)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER open_budget AFTER INSERT ON billing_creditaccount
    FOR EACH ROW EXECUTE FUNCTION billing_open_budget();

INSERT INTO billing_teambudget (team_id, spent_usd, reserved_usd) SELECT team_id, 0, 0 FROM billing_creditaccount;
"""

UNDO = """
DROP TRIGGER open_budget ON billing_creditaccount;
DROP TRIGGER guard_budget ON billing_teambudget;
DROP FUNCTION billing_open_budget, billing_guard_budget;
DELETE FROM billing_teambudget;
"""


class Migration(migrations.Migration):
    """Creates the triggers, and a budget for every account there is."""

    dependencies = [("billing", "0016_team_budgets")]

    operations = [migrations.RunSQL(RULES, UNDO)]
