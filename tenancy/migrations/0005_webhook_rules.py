"""Events are written by the database, in the transaction that caused them.

`tenancy_webhook_wanted` keeps the outbox empty for teams of which nobody wants to be told. Triggers ask it first: a
payload is only made up where there is somebody to read it. `tenancy_emit_event` is the one way into the outbox.
"""

from django.db import migrations

EMIT = """
CREATE FUNCTION tenancy_webhook_wanted(the_team bigint, the_type text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM tenancy_webhookendpoint e
        WHERE e.state = 'active' AND (e.event_types = '{}' OR the_type = ANY (e.event_types))
            AND (e.team_id = the_team
                 OR e.organization_id = (SELECT t.organization_id FROM tenancy_team t WHERE t.id = the_team))
    );
END $$;

CREATE FUNCTION tenancy_emit_event(the_team bigint, the_type text, the_data jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF tenancy_webhook_wanted(the_team, the_type) THEN
        INSERT INTO tenancy_webhookevent (event_id, team_id, type, data, created_at, is_dispatched)
        SELECT gen_random_uuid(), t.id, the_type,
            jsonb_build_object('team_id', t.team_id, 'organization_id', o.organization_id) || the_data, now(), false
        FROM tenancy_team t JOIN tenancy_organization o ON o.id = t.organization_id
        WHERE t.id = the_team;
    END IF;
END $$;
"""

EVENTS_ARE_IMMUTABLE = """
CREATE FUNCTION tenancy_refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an event has happened: it is delivered or forgotten, never rewritten'
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'webhook_event_is_immutable';
END $$;

CREATE TRIGGER webhook_events_are_immutable
    BEFORE UPDATE OF id, event_id, team_id, type, data, created_at ON tenancy_webhookevent
    FOR EACH ROW EXECUTE FUNCTION tenancy_refuse_event_change();
"""

SUSPENSIONS = """
CREATE FUNCTION tenancy_tell_of_suspended_team() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tenancy_emit_event(NEW.id, 'team.suspended', jsonb_build_object('suspended', 'team'));
    RETURN NULL;
END $$;

CREATE FUNCTION tenancy_tell_of_suspended_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Its keys stop working with its organization's; a team that was suspended already has been told of.
    PERFORM tenancy_emit_event(t.id, 'team.suspended', jsonb_build_object('suspended', 'organization'))
    FROM tenancy_team t WHERE t.organization_id = NEW.id AND t.status = 'active' ORDER BY t.id;
    RETURN NULL;
END $$;

CREATE TRIGGER tell_of_suspended_team AFTER UPDATE OF status ON tenancy_team
    FOR EACH ROW WHEN (NEW.status = 'suspended' AND OLD.status <> 'suspended')
    EXECUTE FUNCTION tenancy_tell_of_suspended_team();
CREATE TRIGGER tell_of_suspended_organization AFTER UPDATE OF status ON tenancy_organization
    FOR EACH ROW WHEN (NEW.status = 'suspended' AND OLD.status <> 'suspended')
    EXECUTE FUNCTION tenancy_tell_of_suspended_organization();
"""

UNDO = """
DROP TRIGGER tell_of_suspended_organization ON tenancy_organization;
DROP TRIGGER tell_of_suspended_team ON tenancy_team;
DROP TRIGGER webhook_events_are_immutable ON tenancy_webhookevent;
DROP FUNCTION tenancy_tell_of_suspended_organization, tenancy_tell_of_suspended_team, tenancy_refuse_event_change,
    tenancy_emit_event, tenancy_webhook_wanted;
"""


class Migration(migrations.Migration):
    """Creates functions and triggers."""

    dependencies = [("tenancy", "0004_webhooks")]

    operations = [migrations.RunSQL(EMIT + EVENTS_ARE_IMMUTABLE + SUSPENSIONS, UNDO)]
