"""A row per team for what it spends. Migration 0017 has its rules."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0014_refill_uploads"), ("tenancy", "0011_console_cache_table")]

    operations = [
        migrations.CreateModel(
            name="TeamBudget",
            fields=[
                (
                    "team",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="budget",
                        serialize=False,
                        to="tenancy.team",
                    ),
                ),
                (
                    "spent_usd",
                    models.DecimalField(decimal_places=12, default=0, editable=False, max_digits=24),
                ),
                (
                    "reserved_usd",
                    models.DecimalField(decimal_places=12, default=0, editable=False, max_digits=24),
                ),
            ],
            options={
                "ordering": ["team_id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("reserved_usd__gte", 0), ("spent_usd__gte", 0)),
                        name="budget_is_not_negative",
                    )
                ],
            },
        ),
    ]
