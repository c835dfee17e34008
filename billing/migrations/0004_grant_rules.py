"""Grants, draws and digests, as part of posting an entry; and both for the entries that are there already.

- An entry of a positive amount makes a grant under the entry's terms. One of a negative amount draws on grants, in the
  order of priority, expiry and age; an expiry on the grant that it writes off, and on no other. The account's row is
  locked by then, so an account's draws come one after the other.
- Every entry carries a digest of itself and of the one before it (docs/adr/0030).
- Grants and draws are written by these triggers alone. A refill does not go beyond the account's credit limit.
"""

from django.db import migrations, models

DIGEST = """
-- Every column but the digest, unambiguously and under no setting of the session: so the time is a number.
CREATE FUNCTION billing_entry_digest(previous bytea, e billing_ledgerentry) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(previous || convert_to(concat_ws(',',
        e.id, e.account_id, e.sequence, e.kind, e.amount, e.balance_after, quote_literal(e.reason),
        COALESCE(e.job_id::text, '-'), COALESCE(e.hold_id::text, '-'), COALESCE(e.expired_grant_id::text, '-'),
        COALESCE(e.grant_kind, '-'), COALESCE(e.grant_priority::text, '-'),
        COALESCE(extract(epoch FROM e.grant_expires_at)::text, '-'),
        e.metadata, quote_literal(e.actor), extract(epoch FROM e.created_at)
    ), 'UTF8'))
$$;
"""

USE_GRANTS = """
CREATE FUNCTION billing_use_grants(e billing_ledgerentry) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    due bigint := -e.amount;
    drawn bigint;
BEGIN
    IF e.amount > 0 THEN
        INSERT INTO billing_creditgrant
            (id, account_id, entry_id, sequence, kind, amount, remaining, is_spent, priority, expires_at, created_at)
        VALUES (gen_random_uuid(), e.account_id, e.id, e.sequence, e.grant_kind, e.amount, e.amount, false,
                e.grant_priority, e.grant_expires_at, e.created_at);
        RETURN;
    END IF;
    WHILE due > 0 LOOP
        WITH next AS (
            SELECT id, LEAST(remaining, due) AS amount
            FROM billing_creditgrant
            WHERE account_id = e.account_id AND NOT is_spent AND id = COALESCE(e.expired_grant_id, id)
            ORDER BY priority, expires_at ASC NULLS LAST, sequence
            LIMIT 1
        ), moved AS (
            UPDATE billing_creditgrant g SET
                remaining = g.remaining - next.amount,
                is_spent = g.remaining = next.amount
            FROM next WHERE g.id = next.id
            RETURNING g.id, next.amount
        )
        INSERT INTO billing_grantdraw (entry_id, grant_id, amount) SELECT e.id, id, amount FROM moved
        RETURNING amount INTO drawn;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'nothing is left to draw % credits on', due
                USING ERRCODE = 'check_violation', CONSTRAINT = 'grants_cover_every_entry';
        END IF;
        due := due - drawn;
    END LOOP;
END $$;
"""

POST_ENTRY = """
CREATE OR REPLACE FUNCTION billing_post_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    most bigint;
    previous bytea;
BEGIN
    UPDATE billing_creditaccount SET
        allocated = allocated + CASE WHEN NEW.kind = 'deduction' THEN 0 ELSE NEW.amount END,
        used = used - CASE WHEN NEW.kind = 'deduction' THEN NEW.amount ELSE 0 END,
        held = held + CASE WHEN NEW.hold_id IS NULL THEN 0 ELSE NEW.amount END,
        last_sequence = last_sequence + 1
    WHERE team_id = NEW.account_id
    RETURNING last_sequence, allocated - used, credit_limit INTO NEW.sequence, NEW.balance_after, most;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no account %', NEW.account_id
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'ledger_entry_has_an_account';
    END IF;
    IF NEW.grant_kind = 'refill' AND NEW.balance_after > most THEN
        RAISE EXCEPTION 'a refill to % credits is beyond the limit of %', NEW.balance_after, most
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refill_respects_the_credit_limit';
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
    IF NEW.amount > 0 THEN
        NEW.grant_kind := COALESCE(
            NEW.grant_kind, CASE WHEN NEW.kind = 'adjustment' THEN 'adjustment' ELSE 'purchase' END
        );
        NEW.grant_priority := COALESCE(NEW.grant_priority, 100);
    END IF;
    PERFORM billing_use_grants(NEW);
    SELECT digest INTO previous FROM billing_ledgerentry
    WHERE account_id = NEW.account_id AND sequence = NEW.sequence - 1;
    NEW.digest := billing_entry_digest(COALESCE(previous, ''), NEW);
    RETURN NEW;
END $$;
"""

BACKFILL = """
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE billing_ledgerentry DISABLE TRIGGER entries_are_immutable;

DO $$
DECLARE
    e billing_ledgerentry;
    account bigint;
    previous bytea;
BEGIN
    FOR e IN SELECT * FROM billing_ledgerentry ORDER BY account_id, sequence LOOP
        IF account IS DISTINCT FROM e.account_id THEN
            account := e.account_id;
            previous := '';
        END IF;
        IF e.amount > 0 THEN
            e.grant_kind := CASE WHEN e.kind = 'adjustment' THEN 'adjustment' ELSE 'purchase' END;
            e.grant_priority := 100;
        END IF;
        PERFORM billing_use_grants(e);
        e.digest := billing_entry_digest(previous, e);
        UPDATE billing_ledgerentry SET grant_kind = e.grant_kind, grant_priority = e.grant_priority, digest = e.digest
        WHERE id = e.id;
        previous := e.digest;
    END LOOP;
END $$;

ALTER TABLE billing_ledgerentry ENABLE TRIGGER entries_are_immutable;
"""

GUARDS = """
CREATE FUNCTION billing_refuse_grant_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: ledger entries make grants and draw on them', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'grants_follow_the_ledger';
END $$;

-- The depth is 0 in the condition of a trigger that a client's own statement fires, so post_entry's pay no call.
CREATE TRIGGER grants_follow_the_ledger BEFORE INSERT OR UPDATE OR DELETE ON billing_creditgrant
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION billing_refuse_grant_change();
CREATE TRIGGER draws_follow_the_ledger BEFORE INSERT OR UPDATE OR DELETE ON billing_grantdraw
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION billing_refuse_grant_change();
"""


class Migration(migrations.Migration):
    """Functions first, then what they make of the entries so far, then the rules about the result."""

    dependencies = [("billing", "0003_grants")]

    operations = [
        migrations.RunSQL(DIGEST + USE_GRANTS + POST_ENTRY, migrations.RunSQL.noop),
        migrations.RunSQL(BACKFILL + GUARDS, migrations.RunSQL.noop),
        migrations.AlterField("ledgerentry", "digest", models.BinaryField()),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("amount__gt", 0), ("grant_kind__isnull", False), ("grant_priority__isnull", False)),
                    models.Q(
                        ("amount__lte", 0), ("grant_expires_at", None), ("grant_kind", None), ("grant_priority", None)
                    ),
                    _connector="OR",
                ),
                name="ledger_entry_has_terms_if_it_grants",
            ),
        ),
    ]
