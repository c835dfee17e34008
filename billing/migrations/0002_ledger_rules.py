"""The ledger's rules, as triggers: what constraints on single rows cannot say.

- Posting an entry moves the account, numbers the entry and writes the balance after it; a deduction captures
  its hold. So balance = sum of entries by construction, and sequences have no gaps.
- Placing and ending a hold moves the account's `held`.
- Entries are never updated or deleted; holds end once; an account's numbers change in no other way.

`pg_trigger_depth()` tells a write that a trigger above made (2 or more) from one that a client sent (1).
TRUNCATE is left to privileges: a trigger on it would also stop the test runner's flush.
"""

from django.db import migrations

POST_ENTRY = """
CREATE FUNCTION billing_post_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing_creditaccount SET
        allocated = allocated + CASE WHEN NEW.kind = 'deduction' THEN 0 ELSE NEW.amount END,
        used = used - CASE WHEN NEW.kind = 'deduction' THEN NEW.amount ELSE 0 END,
        held = held + CASE WHEN NEW.hold_id IS NULL THEN 0 ELSE NEW.amount END,
        last_sequence = last_sequence + 1
    WHERE team_id = NEW.account_id
    RETURNING last_sequence, allocated - used INTO NEW.sequence, NEW.balance_after;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no account %', NEW.account_id
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'ledger_entry_has_an_account';
    END IF;
    IF NEW.hold_id IS NOT NULL THEN
        UPDATE billing_credithold
        SET state = 'captured', ended_at = NEW.created_at, balance_after = NEW.balance_after
        WHERE id = NEW.hold_id AND state = 'held'
            AND account_id = NEW.account_id AND job_id = NEW.job_id AND amount = -NEW.amount;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'hold % is not open for this deduction', NEW.hold_id
                USING ERRCODE = 'check_violation', CONSTRAINT = 'deduction_captures_an_open_hold';
        END IF;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER post_entry BEFORE INSERT ON billing_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION billing_post_entry();
"""

ENTRIES_ARE_IMMUTABLE = """
CREATE FUNCTION billing_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the ledger only grows', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'ledger_only_grows';
END $$;

CREATE TRIGGER entries_are_immutable BEFORE UPDATE OR DELETE ON billing_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER holds_are_not_deleted BEFORE DELETE ON billing_credithold
    FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
"""

HOLDS = """
CREATE FUNCTION billing_place_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'held' THEN
        RAISE EXCEPTION 'a hold starts as held'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_starts_held';
    END IF;
    UPDATE billing_creditaccount SET held = held + NEW.amount WHERE team_id = NEW.account_id;
    RETURN NEW;
END $$;

CREATE FUNCTION billing_end_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'held' OR NEW.state = 'held'
        OR (NEW.id, NEW.account_id, NEW.job_id, NEW.amount, NEW.created_at)
           IS DISTINCT FROM (OLD.id, OLD.account_id, OLD.job_id, OLD.amount, OLD.created_at) THEN
        RAISE EXCEPTION 'a hold ends once, and nothing else of it changes'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_ends_once';
    END IF;
    IF NEW.state = 'captured' THEN
        -- Only the entry that charges for it may capture a hold; it has moved the account already.
        IF pg_trigger_depth() < 2 THEN
            RAISE EXCEPTION 'a hold is captured by posting its deduction'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_is_captured_by_its_deduction';
        END IF;
    ELSE
        UPDATE billing_creditaccount SET held = held - NEW.amount WHERE team_id = NEW.account_id
        RETURNING allocated - used INTO NEW.balance_after;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER place_hold BEFORE INSERT ON billing_credithold
    FOR EACH ROW EXECUTE FUNCTION billing_place_hold();
CREATE TRIGGER end_hold BEFORE UPDATE ON billing_credithold
    FOR EACH ROW EXECUTE FUNCTION billing_end_hold();
"""

ACCOUNTS_ARE_DERIVED = """
CREATE FUNCTION billing_guard_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF (NEW.allocated, NEW.used, NEW.held, NEW.last_sequence) IS DISTINCT FROM (0, 0, 0, 0) THEN
            RAISE EXCEPTION 'an account starts empty'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'account_starts_empty';
        END IF;
    ELSIF pg_trigger_depth() < 2
        AND (NEW.allocated, NEW.used, NEW.held, NEW.last_sequence)
            IS DISTINCT FROM (OLD.allocated, OLD.used, OLD.held, OLD.last_sequence) THEN
        RAISE EXCEPTION 'balances change by ledger entries and holds only'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'account_is_derived';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER guard_account BEFORE INSERT OR UPDATE ON billing_creditaccount
    FOR EACH ROW EXECUTE FUNCTION billing_guard_account();
"""

UNDO = """
DROP TRIGGER guard_account ON billing_creditaccount;
DROP TRIGGER end_hold ON billing_credithold;
DROP TRIGGER place_hold ON billing_credithold;
DROP TRIGGER holds_are_not_deleted ON billing_credithold;
DROP TRIGGER entries_are_immutable ON billing_ledgerentry;
DROP TRIGGER post_entry ON billing_ledgerentry;
DROP FUNCTION billing_guard_account, billing_end_hold, billing_place_hold, billing_refuse_change, billing_post_entry;
"""


class Migration(migrations.Migration):
    """Creates the triggers."""

    dependencies = [("billing", "0001_initial")]

    operations = [
        migrations.RunSQL(POST_ENTRY + ENTRIES_ARE_IMMUTABLE + HOLDS + ACCOUNTS_ARE_DERIVED, UNDO),
    ]
