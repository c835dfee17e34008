"""Every change of what LiteLLM Proxy should look like marks its team, whoever makes it and however.

The mark is a number, raised in the change's own transaction: `billing_proxyteam.wanted_version`. Triggers, because
then no service, admin action, command or hand-written UPDATE can forget it. Teams are marked in the order of their
ids, so that two changes of many teams do not deadlock.

A credit that is held, captured or released changes `held` and `used`, never `allocated`: the hot path marks nothing.
"""

from django.db import migrations

MARK = """
CREATE FUNCTION billing_mark_proxy_teams(team_pks bigint[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO billing_proxyteam
        (team_id, wanted_version, synced_version, is_suspect, failures, last_error, next_try_at)
    SELECT team_pk, 1, 0, false, 0, '', now()
    FROM (SELECT DISTINCT unnest(team_pks) AS team_pk ORDER BY 1) AS marked
    ON CONFLICT (team_id) DO UPDATE SET wanted_version = billing_proxyteam.wanted_version + 1
$$;
"""

TEAMS = """
CREATE FUNCTION billing_mark_team() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_mark_proxy_teams(ARRAY[NEW.id]);
    RETURN NULL;
END $$;
CREATE TRIGGER mark_new_proxy_team AFTER INSERT ON tenancy_team
    FOR EACH ROW EXECUTE FUNCTION billing_mark_team();
CREATE TRIGGER mark_proxy_team AFTER UPDATE OF status ON tenancy_team
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION billing_mark_team();

CREATE FUNCTION billing_mark_teams_of_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_mark_proxy_teams(ARRAY(SELECT id FROM tenancy_team WHERE organization_id = NEW.id));
    RETURN NULL;
END $$;
CREATE TRIGGER mark_proxy_teams AFTER UPDATE OF status ON tenancy_organization
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION billing_mark_teams_of_organization();
"""

KEYS_AND_CREDITS = """
CREATE FUNCTION billing_mark_team_of_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_mark_proxy_teams(ARRAY[NEW.team_id]);
    RETURN NULL;
END $$;
CREATE TRIGGER mark_proxy_team_of_new_key AFTER INSERT ON tenancy_virtualkey
    FOR EACH ROW EXECUTE FUNCTION billing_mark_team_of_row();
CREATE TRIGGER mark_proxy_team AFTER UPDATE OF revoked_at, expires_at ON tenancy_virtualkey
    FOR EACH ROW
    WHEN ((OLD.revoked_at, OLD.expires_at) IS DISTINCT FROM (NEW.revoked_at, NEW.expires_at))
    EXECUTE FUNCTION billing_mark_team_of_row();
CREATE TRIGGER mark_proxy_team AFTER UPDATE OF allocated ON billing_creditaccount
    FOR EACH ROW WHEN (OLD.allocated IS DISTINCT FROM NEW.allocated) EXECUTE FUNCTION billing_mark_team_of_row();
"""

GROUPS = """
CREATE FUNCTION billing_mark_teams_of_assignments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_mark_proxy_teams(ARRAY(SELECT team_id FROM changed));
    RETURN NULL;
END $$;
CREATE TRIGGER mark_proxy_teams_of_new AFTER INSERT ON modelgroups_groupassignment
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION billing_mark_teams_of_assignments();
CREATE TRIGGER mark_proxy_teams_of_old AFTER DELETE ON modelgroups_groupassignment
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION billing_mark_teams_of_assignments();
CREATE FUNCTION billing_mark_teams_of_moved_assignments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_mark_proxy_teams(ARRAY(SELECT team_id FROM before UNION ALL SELECT team_id FROM after));
    RETURN NULL;
END $$;
CREATE TRIGGER mark_proxy_teams_of_moved AFTER UPDATE ON modelgroups_groupassignment
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT
    EXECUTE FUNCTION billing_mark_teams_of_moved_assignments();

CREATE FUNCTION billing_mark_teams_of_groups(group_pks uuid[]) RETURNS void LANGUAGE sql AS $$
    SELECT billing_mark_proxy_teams(ARRAY(
        SELECT team_id FROM modelgroups_groupassignment WHERE group_id = ANY(group_pks)))
$$;
CREATE FUNCTION billing_mark_teams_of_models() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_mark_teams_of_groups(ARRAY(SELECT group_id FROM changed));
    RETURN NULL;
END $$;
CREATE TRIGGER mark_proxy_teams_of_new AFTER INSERT ON modelgroups_groupmodel
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION billing_mark_teams_of_models();
CREATE TRIGGER mark_proxy_teams_of_old AFTER DELETE ON modelgroups_groupmodel
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION billing_mark_teams_of_models();
CREATE FUNCTION billing_mark_teams_of_renamed_models() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_mark_teams_of_groups(ARRAY(
        SELECT unnest(ARRAY[was.group_id, is_now.group_id])
        FROM before was JOIN after is_now USING (id)
        WHERE (was.group_id, was.model_name) IS DISTINCT FROM (is_now.group_id, is_now.model_name)));
    RETURN NULL;
END $$;
CREATE TRIGGER mark_proxy_teams_of_renamed AFTER UPDATE ON modelgroups_groupmodel
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT
    EXECUTE FUNCTION billing_mark_teams_of_renamed_models();

CREATE FUNCTION billing_mark_teams_of_group() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM billing_mark_teams_of_groups(ARRAY[NEW.id]);
    RETURN NULL;
END $$;
CREATE TRIGGER mark_proxy_teams AFTER UPDATE OF status ON modelgroups_modelgroup
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION billing_mark_teams_of_group();
"""

#: Teams that are there already are marked once, so that a proxy that is configured one day learns of them.
EXISTING = "SELECT billing_mark_proxy_teams(ARRAY(SELECT id FROM tenancy_team));"

UNDO = """
DROP TRIGGER mark_proxy_teams ON modelgroups_modelgroup;
DROP TRIGGER mark_proxy_teams_of_renamed ON modelgroups_groupmodel;
DROP TRIGGER mark_proxy_teams_of_old ON modelgroups_groupmodel;
DROP TRIGGER mark_proxy_teams_of_new ON modelgroups_groupmodel;
DROP TRIGGER mark_proxy_teams_of_moved ON modelgroups_groupassignment;
DROP TRIGGER mark_proxy_teams_of_old ON modelgroups_groupassignment;
DROP TRIGGER mark_proxy_teams_of_new ON modelgroups_groupassignment;
DROP TRIGGER mark_proxy_team ON billing_creditaccount;
DROP TRIGGER mark_proxy_team ON tenancy_virtualkey;
DROP TRIGGER mark_proxy_team_of_new_key ON tenancy_virtualkey;
DROP TRIGGER mark_proxy_teams ON tenancy_organization;
DROP TRIGGER mark_proxy_team ON tenancy_team;
DROP TRIGGER mark_new_proxy_team ON tenancy_team;
DROP FUNCTION billing_mark_teams_of_group, billing_mark_teams_of_renamed_models, billing_mark_teams_of_models,
    billing_mark_teams_of_groups, billing_mark_teams_of_moved_assignments, billing_mark_teams_of_assignments,
    billing_mark_team_of_row, billing_mark_teams_of_organization, billing_mark_team, billing_mark_proxy_teams;
"""


class Migration(migrations.Migration):
    """Creates the triggers, and a row for every team there is."""

    dependencies = [
        ("billing", "0010_proxy_teams"),
        ("modelgroups", "0001_initial"),
        ("tenancy", "0007_virtual_key_secret"),
    ]

    operations = [migrations.RunSQL([MARK, TEAMS, KEYS_AND_CREDITS, GROUPS, EXISTING], UNDO)]
