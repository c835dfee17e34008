"""Events about jobs and asynchronous calls, in the transaction that ended them (docs/webhooks.md).

The job's trigger is deferred to the commit, when its hold has ended, too: the event says whether the job was charged.
Neither names a model, a prompt, an answer, or what the client wrote in metadata and error messages.
"""

from django.db import migrations

EVENTS = """
CREATE FUNCTION jobs_tell_of_ended_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tenancy_webhook_wanted(NEW.team_id, 'job.' || NEW.status) THEN
        PERFORM tenancy_emit_event(NEW.team_id, 'job.' || NEW.status, jsonb_build_object(
            'job_id', NEW.id, 'job_type', NEW.job_type, 'user_id', NEW.user_id, 'status', NEW.status,
            'credit_applied', h.state = 'captured', 'credits_remaining', h.balance_after,
            'created_at', NEW.created_at, 'ended_at', NEW.ended_at))
        FROM billing_credithold h WHERE h.job_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION jobs_tell_of_ended_call() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Only asynchronous calls were ever published from what is stored of them. Most calls are not, so this comes first.
    IF EXISTS (SELECT FROM jobs_callcontent c WHERE c.call_id = NEW.id AND c.published_at IS NOT NULL) THEN
        PERFORM tenancy_emit_event(NEW.team_id, 'call.completed', jsonb_build_object(
            'call_id', NEW.id, 'job_id', NEW.job_id, 'purpose', NEW.purpose, 'state', NEW.state, 'error', NEW.error,
            'prompt_tokens', NEW.prompt_tokens, 'completion_tokens', NEW.completion_tokens,
            'latency_ms', NEW.latency_ms, 'created_at', NEW.created_at, 'ended_at', NEW.ended_at));
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER tell_of_ended_job AFTER UPDATE OF status ON jobs_job
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status IN ('completed', 'failed') AND OLD.status NOT IN ('completed', 'failed'))
    EXECUTE FUNCTION jobs_tell_of_ended_job();
CREATE TRIGGER tell_of_ended_call AFTER UPDATE OF state ON jobs_call
    FOR EACH ROW WHEN (NEW.state NOT IN ('queued', 'running') AND OLD.state IN ('queued', 'running'))
    EXECUTE FUNCTION jobs_tell_of_ended_call();
"""

UNDO = """
DROP TRIGGER tell_of_ended_call ON jobs_call;
DROP TRIGGER tell_of_ended_job ON jobs_job;
DROP FUNCTION jobs_tell_of_ended_call, jobs_tell_of_ended_job;
"""


class Migration(migrations.Migration):
    """Creates the triggers."""

    dependencies = [
        ("jobs", "0004_cheaper_updates"),
        ("billing", "0009_credit_events"),
        ("tenancy", "0005_webhook_rules"),
    ]

    operations = [migrations.RunSQL(EVENTS, UNDO)]
