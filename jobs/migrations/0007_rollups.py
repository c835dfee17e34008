"""Sums by day for the dashboard (docs/adr/0052)."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0006_windows"),
        ("tenancy", "0008_broken_books"),
    ]

    operations = [
        migrations.CreateModel(
            name="LateChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField(db_index=True)),
                ("origin", models.CharField(max_length=64)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="RollupDay",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False)),
                ("closing_xid", models.BigIntegerField(editable=False, null=True)),
                ("is_closed", models.BooleanField(default=False)),
                ("rolled_up_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-day"],
            },
        ),
        migrations.CreateModel(
            name="CallDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("state", models.CharField(max_length=16)),
                ("cause", models.CharField(blank=True, max_length=32)),
                ("calls", models.BigIntegerField()),
                (
                    "latency_buckets",
                    django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=29),
                ),
                (
                    "team",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tenancy.team",
                    ),
                ),
            ],
            options={
                "ordering": ["-day", "-id"],
                "abstract": False,
                "indexes": [models.Index(fields=["day"], name="call_days_by_day")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("team", "day", "state", "cause"), name="one_call_day_per_cause", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CreditDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("entries", models.BigIntegerField()),
                ("used", models.BigIntegerField()),
                ("added", models.BigIntegerField()),
                ("removed", models.BigIntegerField()),
                (
                    "team",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tenancy.team",
                    ),
                ),
            ],
            options={
                "ordering": ["-day", "-id"],
                "abstract": False,
                "indexes": [models.Index(fields=["day"], name="credit_days_by_day")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("team", "day"), name="one_credit_day_per_team", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="JobDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("job_type", models.CharField(max_length=128)),
                ("status", models.CharField(max_length=16)),
                ("jobs", models.BigIntegerField()),
                (
                    "team",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tenancy.team",
                    ),
                ),
            ],
            options={
                "ordering": ["-day", "-id"],
                "abstract": False,
                "indexes": [models.Index(fields=["day"], name="job_days_by_day")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("team", "day", "job_type", "status"),
                        name="one_job_day_per_status",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ModelDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("model_name", models.CharField(max_length=255)),
                ("attempts", models.BigIntegerField()),
                ("failures", models.BigIntegerField()),
                ("prompt_tokens", models.BigIntegerField()),
                ("completion_tokens", models.BigIntegerField()),
                ("cost_usd", models.DecimalField(decimal_places=12, max_digits=26)),
                (
                    "latency_buckets",
                    django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=29),
                ),
                (
                    "team",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tenancy.team",
                    ),
                ),
            ],
            options={
                "ordering": ["-day", "-id"],
                "abstract": False,
                "indexes": [models.Index(fields=["day"], name="model_days_by_day")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("team", "day", "model_name"), name="one_model_day_per_model", nulls_distinct=False
                    )
                ],
            },
        ),
    ]
