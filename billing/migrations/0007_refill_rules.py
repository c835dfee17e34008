"""What refills have to keep to, whoever makes them.

- An automatic refill is for a period after all periods so far (a clock that was set back finds nothing to do), and
  within what the policy allows in a month. Both are looked up under the account's lock: two at once cannot both pass.
- Refills are never changed or deleted: they are what keeps a refill from being made again.
- An account's `auto_refill` says whether its policy is enabled.
"""

from django.db import migrations

REFILLS = """
CREATE FUNCTION billing_make_refill() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    most bigint;
    added bigint;
BEGIN
    PERFORM FROM billing_creditaccount WHERE team_id = NEW.account_id FOR NO KEY UPDATE;
    IF NEW.period_start IS NOT NULL AND EXISTS (
        SELECT FROM billing_refill WHERE account_id = NEW.account_id AND period_start >= NEW.period_start
    ) THEN
        RAISE EXCEPTION 'the period % or a later one was refilled already', NEW.period_start
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'periods_are_refilled_in_order';
    END IF;
    SELECT max_per_month INTO most FROM billing_refillpolicy WHERE account_id = NEW.account_id;
    IF NEW.is_automatic AND most IS NOT NULL THEN
        SELECT COALESCE(SUM(amount), 0) INTO added FROM billing_refill
        WHERE account_id = NEW.account_id AND is_automatic
            AND date_trunc('month', created_at AT TIME ZONE 'UTC')
                = date_trunc('month', NEW.created_at AT TIME ZONE 'UTC');
        IF added + NEW.amount > most THEN
            RAISE EXCEPTION 'a refill of % after % in this month is beyond its cap of %', NEW.amount, added, most
                USING ERRCODE = 'check_violation', CONSTRAINT = 'refills_keep_to_the_monthly_cap';
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER make_refill BEFORE INSERT ON billing_refill
    FOR EACH ROW EXECUTE FUNCTION billing_make_refill();
CREATE TRIGGER refills_are_immutable BEFORE UPDATE OR DELETE ON billing_refill
    FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
"""

POLICIES = """
CREATE FUNCTION billing_show_auto_refill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing_creditaccount SET auto_refill = TG_OP <> 'DELETE' AND NEW.is_enabled
    WHERE team_id = CASE TG_OP WHEN 'DELETE' THEN OLD.account_id ELSE NEW.account_id END;
    RETURN NULL;
END $$;

CREATE TRIGGER show_auto_refill AFTER INSERT OR UPDATE OR DELETE ON billing_refillpolicy
    FOR EACH ROW EXECUTE FUNCTION billing_show_auto_refill();
"""

UNDO = """
DROP TRIGGER show_auto_refill ON billing_refillpolicy;
DROP TRIGGER refills_are_immutable ON billing_refill;
DROP TRIGGER make_refill ON billing_refill;
DROP FUNCTION billing_show_auto_refill, billing_make_refill;
"""


class Migration(migrations.Migration):
    """Creates the triggers."""

    dependencies = [("billing", "0006_refills")]

    operations = [migrations.RunSQL(REFILLS + POLICIES, UNDO)]
