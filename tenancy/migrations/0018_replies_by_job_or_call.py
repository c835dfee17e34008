"""An index to find the replies that tell of somebody. Made beside what runs; what is half made is dropped first."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("tenancy", "0017_user_rates")]

    operations = [
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS replies_by_job_or_call", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="idempotencyrecord",
            index=models.Index(
                condition=models.Q(("claimed_for__isnull", False)),
                fields=["claimed_for"],
                name="replies_by_job_or_call",
            ),
        ),
    ]
