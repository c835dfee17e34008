"""Calls without a job, calls of one model by its name, and what a call was estimated at."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models


class Migration(migrations.Migration):
    #: The index and the constraint read all calls, beside those that run.
    atomic = False

    dependencies = [("jobs", "0010_model_checks")]

    operations = [
        migrations.AlterField(
            model_name="call",
            name="job",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="calls",
                to="jobs.job",
            ),
        ),
        migrations.AddField(
            model_name="call",
            name="endpoint",
            field=models.CharField(blank=True, db_default="", default="", max_length=32),
        ),
        migrations.AddField(
            model_name="call",
            name="model_name",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="call",
            name="reserved_usd",
            field=models.DecimalField(db_default=0, decimal_places=12, default=0, max_digits=20),
        ),
        AddIndexConcurrently(
            model_name="call",
            index=models.Index(condition=models.Q(("job", None)), fields=["team", "created_at"], name="direct_calls"),
        ),
        migrations.RemoveConstraint(model_name="call", name="call_counts_are_not_negative"),
        AddConstraintNotValid(
            model_name="call",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("completion_tokens__gte", 0),
                    ("cost_usd__gte", 0),
                    ("prompt_tokens__gte", 0),
                    ("reserved_usd__gte", 0),
                ),
                name="call_counts_are_not_negative",
            ),
        ),
        ValidateConstraint(model_name="call", name="call_counts_are_not_negative"),
    ]
