"""Keys that models name, models that can be switched off, and the permission to send a test call."""

import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("modelgroups", "0001_initial"),
        ("tenancy", "0009_audit_rules"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="modelgroup",
            options={
                "ordering": ["-created_at", "-id"],
                "permissions": [("test_modelgroup", "Can send a test call to a model")],
            },
        ),
        migrations.AddField(
            model_name="groupmodel",
            name="is_enabled",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.CreateModel(
            name="ProviderCredential",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=64)),
                ("provider", models.CharField(max_length=64)),
                ("api_base", models.CharField(blank=True, max_length=1024)),
                ("secret_encrypted", models.BinaryField()),
                ("last_four", models.CharField(max_length=4)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("replaced_at", models.DateTimeField(auto_now_add=True)),
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
                "ordering": ["name", "-organization"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("name", "organization"), name="credential_name_is_unique", nulls_distinct=False
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("name__regex", "^[A-Za-z0-9_.:-]{1,64}$"), ("provider__regex", "^[a-z0-9_]{1,64}$")
                        ),
                        name="credential_is_well_formed",
                    ),
                ],
            },
        ),
    ]
