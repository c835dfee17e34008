"""Indexes to find the replies and events that tell of somebody.

They are made beside what runs, and that can break off: what is half made is dropped first, so it can be run again.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models.fields.json import KeyTextTransform


def _anew(model: str, index: models.Index) -> list[Operation]:
    return [
        migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop),
        AddIndexConcurrently(model_name=model, index=index),
    ]


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tenancy", "0017_user_rates")]

    operations = [
        *_anew(
            "idempotencyrecord",
            models.Index(
                condition=models.Q(("claimed_for__isnull", False)),
                fields=["claimed_for"],
                name="replies_by_job_or_call",
            ),
        ),
        *_anew("webhookevent", models.Index(KeyTextTransform("job_id", "data"), name="webhook_events_of_job")),
        *_anew("webhookevent", models.Index(KeyTextTransform("call_id", "data"), name="webhook_events_of_call")),
    ]
