"""Indexes for the console's lists over millions of rows, and for rollups (docs/adr/0053).

Made without keeping writers out, which takes a transaction for each of them. Stopped half-way, an index may be left
that is invalid: drop it, and migrate again.
"""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("jobs", "0008_late_changes"),
        ("modelgroups", "0001_initial"),
        ("tenancy", "0008_broken_books"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="attempt",
            index=models.Index(fields=["started_at", "id"], name="attempts_in_order"),
        ),
        AddIndexConcurrently(
            model_name="attempt",
            index=models.Index(fields=["model_name", "started_at"], name="attempts_of_model"),
        ),
        AddIndexConcurrently(
            model_name="attempt",
            index=models.Index(
                condition=models.Q(("cause", ""), _negated=True), fields=["started_at", "id"], name="failed_attempts"
            ),
        ),
        AddIndexConcurrently(
            model_name="attempt",
            index=models.Index(
                condition=models.Q(("cause", ""), _negated=True),
                fields=["cause", "started_at"],
                name="attempts_by_cause",
            ),
        ),
        AddIndexConcurrently(
            model_name="call",
            index=models.Index(fields=["created_at", "id"], name="calls_in_order"),
        ),
        AddIndexConcurrently(
            model_name="call",
            index=models.Index(fields=["team", "created_at"], name="calls_of_team"),
        ),
        AddIndexConcurrently(
            model_name="call",
            index=models.Index(
                condition=models.Q(("cause", ""), _negated=True), fields=["created_at", "id"], name="unsuccessful_calls"
            ),
        ),
        AddIndexConcurrently(
            model_name="call",
            index=models.Index(
                condition=models.Q(("cause", ""), _negated=True), fields=["cause", "created_at"], name="calls_by_cause"
            ),
        ),
        AddIndexConcurrently(
            model_name="call",
            index=models.Index(condition=models.Q(("is_late", True)), fields=["created_at", "id"], name="late_calls"),
        ),
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(fields=["created_at", "id"], name="jobs_in_order"),
        ),
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(fields=["job_type", "created_at"], name="jobs_of_type"),
        ),
        AddIndexConcurrently(
            model_name="job",
            index=models.Index(
                condition=models.Q(("user_id", ""), _negated=True),
                fields=["user_id", "created_at"],
                name="jobs_of_user",
            ),
        ),
        RemoveIndexConcurrently(
            model_name="attempt",
            name="attempts_by_start",
        ),
        RemoveIndexConcurrently(
            model_name="job",
            name="jobs_by_creation",
        ),
    ]
