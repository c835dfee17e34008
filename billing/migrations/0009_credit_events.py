"""Events about credits, in the transaction that moved them (docs/webhooks.md).

A budget is exhausted when its last credit is used. That an open job holds the last one is no such event: the job may
still fail and give it back, and the next one would hold it again.
"""

from django.db import migrations

EVENTS = """
CREATE FUNCTION billing_tell_of_refill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tenancy_emit_event(NEW.account_id, 'credits.refilled', jsonb_build_object(
        'transaction_id', NEW.id, 'credits_amount', NEW.amount, 'credits_remaining', NEW.balance_after,
        'reason', NEW.reason));
    RETURN NULL;
END $$;

CREATE FUNCTION billing_tell_of_exhausted_budget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tenancy_emit_event(NEW.team_id, 'budget.exhausted', jsonb_build_object(
        'credits_allocated', NEW.allocated, 'credits_used', NEW.used, 'credits_remaining', 0));
    RETURN NULL;
END $$;

CREATE TRIGGER tell_of_refill AFTER INSERT ON billing_ledgerentry
    FOR EACH ROW WHEN (NEW.kind = 'allocation')
    EXECUTE FUNCTION billing_tell_of_refill();
CREATE TRIGGER tell_of_exhausted_budget AFTER UPDATE ON billing_creditaccount
    FOR EACH ROW WHEN (NEW.allocated = NEW.used AND OLD.allocated <> OLD.used)
    EXECUTE FUNCTION billing_tell_of_exhausted_budget();
"""

UNDO = """
DROP TRIGGER tell_of_exhausted_budget ON billing_creditaccount;
DROP TRIGGER tell_of_refill ON billing_ledgerentry;
DROP FUNCTION billing_tell_of_exhausted_budget, billing_tell_of_refill;
"""


class Migration(migrations.Migration):
    """Creates the triggers."""

    dependencies = [("billing", "0008_grants_without_a_foreign_key"), ("tenancy", "0005_webhook_rules")]

    operations = [migrations.RunSQL(EVENTS, UNDO)]
