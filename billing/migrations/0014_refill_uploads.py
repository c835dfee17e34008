"""Uploaded files of refills, their rows, and the permission to approve them."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0013_top_up_permission"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="RefillUpload",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("preview", "Preview"),
                            ("waiting", "waiting for approval"),
                            ("running", "Running"),
                            ("done", "Done"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="preview",
                        max_length=16,
                    ),
                ),
                ("file_name", models.CharField(max_length=255)),
                ("digest", models.CharField(max_length=64)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("purchase", "Purchase"),
                            ("promotion", "Promotion"),
                            ("refill", "Refill"),
                            ("adjustment", "Adjustment"),
                        ],
                        default="refill",
                        max_length=16,
                    ),
                ),
                ("rows_total", models.PositiveIntegerField()),
                ("rows_valid", models.PositiveIntegerField()),
                ("credits_total", models.BigIntegerField()),
                ("needs_approval", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "approved_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "uploaded_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at", "-id"],
                "permissions": [("approve_refillupload", "Can approve refill uploads of others")],
            },
        ),
        migrations.CreateModel(
            name="RefillUploadRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("line", models.PositiveIntegerField()),
                ("team_id", models.CharField(blank=True, max_length=160)),
                ("number", models.PositiveIntegerField(default=1)),
                ("amount", models.BigIntegerField(null=True)),
                ("reason", models.CharField(blank=True, max_length=1024)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("invalid", "Invalid"),
                            ("applied", "Applied"),
                            ("already_applied", "already applied"),
                            ("refused", "Refused"),
                        ],
                        default="pending",
                        max_length=16,
                    ),
                ),
                ("detail", models.CharField(blank=True, max_length=255)),
                (
                    "upload",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rows",
                        to="billing.refillupload",
                    ),
                ),
            ],
            options={
                "ordering": ["-upload_id", "position"],
            },
        ),
        migrations.AddIndex(
            model_name="refillupload",
            index=models.Index(
                condition=models.Q(("state", "running")), fields=["confirmed_at"], name="uploads_that_run"
            ),
        ),
        migrations.AddIndex(
            model_name="refillupload",
            index=models.Index(fields=["digest"], name="uploads_by_digest"),
        ),
        migrations.AddConstraint(
            model_name="refillupload",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["preview", "waiting", "running", "done", "cancelled"])),
                name="refill_upload_state_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="refillupload",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("approved_by", None),
                    models.Q(("approved_by", models.F("uploaded_by")), _negated=True),
                    _connector="OR",
                ),
                name="refill_upload_is_approved_by_another",
            ),
        ),
        migrations.AddConstraint(
            model_name="refillupload",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("needs_approval", False),
                    ("state__in", ["preview", "waiting", "cancelled"]),
                    ("approved_by__isnull", False),
                    _connector="OR",
                ),
                name="refill_upload_runs_only_with_its_approval",
            ),
        ),
        migrations.AddConstraint(
            model_name="refillupload",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("credits_total__gte", models.F("rows_valid")), ("rows_valid__lte", models.F("rows_total"))
                ),
                name="refill_upload_counts_make_sense",
            ),
        ),
        migrations.AddIndex(
            model_name="refilluploadrow",
            index=models.Index(fields=["upload", "outcome", "position"], name="rows_of_an_upload"),
        ),
        migrations.AddConstraint(
            model_name="refilluploadrow",
            constraint=models.UniqueConstraint(fields=("upload", "position"), name="one_upload_row_per_position"),
        ),
        migrations.AddConstraint(
            model_name="refilluploadrow",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("amount__gt", 0),
                        ("amount__isnull", False),
                        ("outcome__in", ["pending", "applied", "already_applied"]),
                    ),
                    models.Q(("outcome__in", ["invalid", "refused"]), models.Q(("detail", ""), _negated=True)),
                    _connector="OR",
                ),
                name="refill_upload_row_is_valid_or_says_why_not",
            ),
        ),
    ]
