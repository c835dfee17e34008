"""Test calls to models."""

import uuid

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("jobs", "0009_indexes_for_the_console"),
        ("modelgroups", "0002_provider_credentials"),
        ("tenancy", "0009_audit_rules"),
    ]

    operations = [
        migrations.CreateModel(
            name="ModelCheck",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("group_name", models.CharField(max_length=128)),
                ("model_name", models.CharField(max_length=255)),
                ("actor", models.CharField(max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                        ],
                        default="queued",
                        max_length=16,
                    ),
                ),
                ("cause", models.CharField(blank=True, max_length=32)),
                ("error_class", models.CharField(blank=True, max_length=128)),
                ("http_status", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("latency_ms", models.IntegerField(blank=True, null=True)),
                ("prompt_tokens", models.BigIntegerField(default=0)),
                ("completion_tokens", models.BigIntegerField(default=0)),
                ("cost_usd", models.DecimalField(blank=True, decimal_places=12, max_digits=20, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True, db_index=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "model",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="modelgroups.groupmodel",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenancy.organization",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(("ended_at", None), ("state__in", ["queued", "running"]))
                        | Q(("ended_at__isnull", False), ("state__in", ["succeeded", "failed"])),
                        name="model_check_has_ended_or_is_open",
                    ),
                    models.CheckConstraint(
                        condition=~Q(("cause", ""), ("state", "failed")), name="failed_model_check_has_a_cause"
                    ),
                ],
            },
        ),
    ]
