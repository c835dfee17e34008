"""Indexes for looking at the last minutes of big tables: a few pages each, and next to nothing at an insert."""

import django.contrib.postgres.indexes
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("jobs", "0005_job_events")]

    operations = [
        migrations.AddIndex(
            model_name="job",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["created_at"], name="jobs_by_creation", pages_per_range=32
            ),
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["started_at"], name="attempts_by_start", pages_per_range=32
            ),
        ),
    ]
