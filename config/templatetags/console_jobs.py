"""What the team's page, whose admin stands below `jobs`, shows of its jobs."""

from typing import Any

from django import template

from tenancy.models import Team

register = template.Library()


@register.simple_tag
def recent_jobs(team: Team) -> dict[str, Any]:
    """The last jobs, and a link to all."""
    # Django imports tags while it imports the admin, which these modules build on.
    from billing.admin.panels import MAX_ROWS, table
    from jobs.queries.jobs import jobs_of_team
    from tenancy.admin import link

    rows = [
        (link("jobs_job_change", f"{job.created_at:%Y-%m-%d %H:%M}", pk=job.pk), job.job_type, job.user_id, job.status)
        for job in jobs_of_team(team_pk=team.pk)[:MAX_ROWS]
    ]
    return {
        "table": table(["when", "type", "user", "status"], rows),
        "all_rows": link("jobs_job_changelist", "All jobs", team__id__exact=team.pk),
    }
