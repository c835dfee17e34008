"""Permissions for what the console does with a team besides changing its fields."""

from django.db import migrations


class Migration(migrations.Migration):
    """Permissions are no matter of the schema: Django makes them after all migrations."""

    dependencies = [("tenancy", "0009_audit_rules")]

    operations = [
        migrations.AlterModelOptions(
            name="team",
            options={"ordering": ["-created_at", "-id"], "permissions": [("suspend_team", "Can suspend team")]},
        ),
    ]
