"""What was there before there were users is given them by the migration."""

import hashlib
import importlib
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from jobs.models import Call, Job
from jobs.services.jobs import open_job
from tenancy.models import TeamUser
from tenancy.queries.principals import TeamRef
from tests.support.api import Tenant, make_tenant

migration: Any = importlib.import_module("jobs.migrations.0014_team_users")


@pytest.mark.django_db(transaction=True)
def test_jobs_and_calls_of_before_are_given_their_users(transactional_db: None) -> None:
    names = ("bob", "bob", "a/b", "~x", "")
    teams = [make_tenant(name, groups=[], credits_allocated=10) for name in ("a", "b")]
    for team in teams:
        for name in names:
            _old_job(team, name)

    for _ in range(2):  # Safe to repeat.
        with connection.cursor() as cursor:
            for statement in (migration.RENAME, migration.USERS, migration.THEIR_JOBS):
                cursor.execute(statement)

    digests = ["~" + hashlib.sha256(name.encode()).hexdigest() for name in ("a/b", "~x")]
    for team in teams:
        users = TeamUser.objects.filter(team_id=team.team_pk)
        assert {user.user_id for user in users} == {"bob", *digests}
        bob = users.get(user_id="bob")
        jobs = Job.objects.filter(team_user=bob)
        assert {(job.team_id, job.user_id) for job in jobs} == {(team.team_pk, "bob")}
        assert (jobs.count(), Call.objects.filter(team_user=bob, job__team_id=team.team_pk).count()) == (2, 2)
        assert bob.first_seen_at == min(job.created_at for job in jobs)
    assert set(Job.objects.filter(team_user=None).values_list("user_id", flat=True)) == {""}
    assert Call.objects.filter(team_user=None).count() == 2


def _old_job(team: Tenant, name: str) -> None:
    reference = TeamRef(team.team_pk, team.team_id, team.organization_id, is_suspended=False)
    opened = open_job(team=reference, virtual_key_id=None, job_type="x", user_id="", metadata={})
    Job.objects.filter(pk=opened.job_id).update(user_id=name)
    Call.objects.create(team_id=team.team_pk, job_id=opened.job_id, model_group="G", deadline_at=timezone.now())
