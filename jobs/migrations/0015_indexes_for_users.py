"""Indexes to find a user's jobs and calls by, and the jobs that have not been given theirs.

They are made beside what runs, and that can break off: what is half made is dropped first, so it can be run again.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.operations.base import Operation


def _anew(model: str, index: models.Index) -> list[Operation]:
    return [
        migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop),
        AddIndexConcurrently(model_name=model, index=index),
    ]


def _of_user(name: str) -> models.Index:
    condition = models.Q(("team_user", None), _negated=True)
    return models.Index(condition=condition, fields=["team_user", "created_at", "id"], name=name)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("jobs", "0014_team_users")]

    operations = [
        *_anew("job", _of_user("jobs_of_team_user")),
        *_anew("call", _of_user("calls_of_team_user")),
        *_anew(
            "job",
            models.Index(
                condition=models.Q(models.Q(("user_id", ""), _negated=True), ("team_user", None)),
                fields=["team", "user_id"],
                name="jobs_without_their_user",
            ),
        ),
    ]
