"""What limits and restrictions may be; in a migration of its own, because a table is not altered beside its data."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenancy", "0014_limits_and_restrictions")]

    operations = [
        migrations.AddConstraint(
            "team",
            models.CheckConstraint(
                name="team_limits_are_positive",
                condition=models.Q(("requests_per_minute__gt", 0), ("tokens_per_minute__gt", 0)),
            ),
        ),
        migrations.AddConstraint(
            "virtualkey",
            models.CheckConstraint(
                name="virtual_key_scopes_are_known",
                condition=models.Q(("scopes__contained_by", ["read", "jobs", "direct"]), ("scopes__len__gt", 0)),
            ),
        ),
        migrations.AddConstraint(
            "virtualkey",
            models.CheckConstraint(
                name="virtual_key_allowed_models_are_some",
                condition=models.Q(("allowed_models__len__range", (1, 256))),
            ),
        ),
        migrations.AddConstraint(
            "virtualkey",
            models.CheckConstraint(
                name="virtual_key_allowed_ips_are_networks",
                condition=models.Func(
                    models.F("allowed_ips"), function="tenancy_are_networks", output_field=models.BooleanField()
                ),
            ),
        ),
        migrations.AddConstraint(
            "virtualkey",
            models.CheckConstraint(
                name="virtual_key_limits_are_positive",
                condition=models.Q(
                    ("max_calls_in_flight__gt", 0), ("requests_per_minute__gt", 0), ("tokens_per_minute__gt", 0)
                ),
            ),
        ),
    ]
