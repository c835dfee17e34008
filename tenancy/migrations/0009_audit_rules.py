"""The audit log, and that it only grows: no entry is changed or deleted, whoever asks.

TRUNCATE is left to privileges, as for the ledger (billing's migration 0002).
"""

import django.core.serializers.json
import django.db.models.deletion
from django.db import migrations, models

ENTRIES_ARE_IMMUTABLE = """
CREATE FUNCTION tenancy_refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the audit log only grows', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'audit_log_only_grows';
END $$;

CREATE TRIGGER audit_entries_are_immutable BEFORE UPDATE OR DELETE ON tenancy_auditentry
    FOR EACH ROW EXECUTE FUNCTION tenancy_refuse_audit_change();
"""

UNDO = """
DROP TRIGGER audit_entries_are_immutable ON tenancy_auditentry;
DROP FUNCTION tenancy_refuse_audit_change;
"""


class Migration(migrations.Migration):
    """Creates the table and its trigger."""

    dependencies = [("tenancy", "0008_broken_books")]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("actor", models.CharField(max_length=200)),
                ("action", models.CharField(max_length=64)),
                ("subject", models.CharField(max_length=255)),
                ("before", models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder, null=True)),
                ("after", models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder, null=True)),
                ("reason", models.TextField(blank=True)),
                (
                    "organization",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.organization",
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenancy.team"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "audit entries",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["action", "id"], name="audit_entries_by_action"),
                    models.Index(fields=["actor", "id"], name="audit_entries_by_actor"),
                    models.Index(fields=["created_at"], name="audit_entries_by_age"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("actor", ""), _negated=True),
                            models.Q(("subject", ""), _negated=True),
                            ("action__regex", "^[a-z_]+(\\.[a-z_]+)+$"),
                        ),
                        name="audit_entry_says_who_did_what",
                    )
                ],
            },
        ),
        migrations.RunSQL(ENTRIES_ARE_IMMUTABLE, UNDO),
    ]
