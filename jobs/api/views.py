"""Jobs and usage over HTTP."""

from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.proxy.spend import spend_of_organization, spend_of_team
from billing.queries.balances import budget_of
from config.foundation.api.paging import read_page
from config.foundation.errors import InvalidInput
from config.foundation.failpoints import failpoint
from config.foundation.limits import check_client_id
from jobs.api import presenters
from jobs.api.call_bodies import response
from jobs.api.serializers import (
    CallDetailOut,
    CallListOut,
    CompleteIn,
    CompletionOut,
    JobIn,
    JobListOut,
    JobOut,
    NewJobOut,
    OrganizationUsageOut,
    TeamUsageOut,
)
from jobs.callpath.content import fetch_answer
from jobs.models import Job
from jobs.queries import jobs as job_queries
from jobs.queries import usage
from jobs.queries.calls import attempts_of, calls_of_job, get_call
from jobs.queries.completion import calls_of
from jobs.services import jobs
from tenancy.api.base import ApiView
from tenancy.api.idempotency import idempotent
from tenancy.api.permissions import AnyKey, principal_of
from tenancy.queries import tenants

PERIOD_PARAMETER = OpenApiParameter("period", str, description="YYYY-MM or YYYY-MM-DD; the current month by default.")


def _own_team(request: Request) -> int | None:
    """The team whose jobs the caller may see: its own, or any (None) for an operator."""
    team = principal_of(request).team
    return team.pk if team else None


def _readable_team(request: Request) -> int | None:
    """The same for reading. Raises InsufficientScope."""
    principal = principal_of(request)
    if principal.team is None:
        principal.require_scope("read")
    return _own_team(request)


class JobCreateView(ApiView):
    """POST /api/jobs/create"""

    permission_classes = [AnyKey]

    @extend_schema(operation_id="create_job", request=JobIn, responses=NewJobOut)
    @idempotent
    def post(self, request: Request) -> Response:
        """Create a job and hold one credit for it."""
        data = JobIn(data=request.data)
        data.is_valid(raise_exception=True)
        fields: dict[str, Any] = dict(data.validated_data)
        principal = principal_of(request)
        team = tenants.team_for(principal, fields.pop("team_id"), scope="jobs")
        key_id: UUID | None = principal.key_id if principal.kind == "team" else None
        opened = jobs.open_job(team=team, virtual_key_id=key_id, **fields)
        failpoint("web.job_created")
        return Response(NewJobOut(opened).data)


class JobCompleteView(ApiView):
    """POST /api/jobs/{job_id}/complete"""

    permission_classes = [AnyKey]

    @extend_schema(operation_id="complete_job", request=CompleteIn, responses=CompletionOut)
    @idempotent
    def post(self, request: Request, job_id: str) -> Response:
        """End a job: charge its credit, or give it back. Repeating it changes nothing."""
        principal = principal_of(request)
        if principal.team is None:
            principal.require_scope("jobs")
        data = CompleteIn(data=request.data)
        data.is_valid(raise_exception=True)
        completion = jobs.end_job(
            job_id=job_queries.parse_job_id(job_id),
            team_pk=_own_team(request),
            actor=principal.idempotency_scope,
            **data.validated_data,
        )
        failpoint("web.job_completed")
        return Response(presenters.completion_body(completion))


class JobView(ApiView):
    """GET /api/jobs/{job_id}"""

    permission_classes = [AnyKey]
    open_methods = frozenset({"GET"})

    @extend_schema(operation_id="get_job", responses=JobOut)
    def get(self, request: Request, job_id: str) -> Response:
        """Get a job with its calls."""
        job = job_queries.get_job(job_id=job_queries.parse_job_id(job_id), team_pk=_readable_team(request))
        return Response(presenters.job_body(job, calls_of(job.id)))


class JobCallsView(ApiView):
    """GET /api/jobs/{job_id}/calls"""

    permission_classes = [AnyKey]

    @extend_schema(operation_id="list_job_calls", responses=CallListOut)
    def get(self, request: Request, job_id: str) -> Response:
        """List a job's calls, newest first."""
        job = job_queries.get_job(job_id=job_queries.parse_job_id(job_id), team_pk=_readable_team(request))
        page = read_page(request, default_limit=100)
        found = calls_of_job(job.id)
        total = found.count()
        calls = found[page.offset : page.offset + page.limit]
        body = {"job_id": job.id, "total_calls": total, "calls": [presenters.call_in_job(call) for call in calls]}
        return Response(body, headers=page.links(request, total))


class CallView(ApiView):
    """GET /api/jobs/{job_id}/calls/{call_id}"""

    permission_classes = [AnyKey]
    #: Whoever may make an asynchronous call may fetch its result.
    key_scopes = ("read", "jobs")

    @extend_schema(operation_id="get_call", responses=CallDetailOut)
    def get(self, request: Request, job_id: str, call_id: str) -> Response:
        """Get a call, and the result of an asynchronous one once it has ended. Operators also get its attempts."""
        job = job_queries.get_job(job_id=job_queries.parse_job_id(job_id), team_pk=_readable_team(request))
        call = get_call(job_id=job.id, call_id=job_queries.parse_id(call_id, field="call_id"))
        answer = fetch_answer(call)
        body = {**presenters.call_detail(call), "response": response(answer) if answer else None}
        if principal_of(request).kind == "operator":
            body["attempts"] = [presenters.attempt_body(attempt) for attempt in attempts_of(call.id)]
        return Response(body)


class TeamJobsView(ApiView):
    """GET /api/teams/{team_id}/jobs"""

    permission_classes = [AnyKey]

    @extend_schema(
        operation_id="list_team_jobs",
        responses=JobListOut,
        parameters=[OpenApiParameter("status", str, enum=Job.Status.values)],
    )
    def get(self, request: Request, team_id: str) -> Response:
        """List a team's jobs, newest first."""
        team = tenants.team_for(principal_of(request), check_client_id(team_id, field="team_id"), scope="read")
        page = read_page(request, default_limit=100)
        status = request.GET.get("status")
        if status is not None and status not in Job.Status.values:
            raise InvalidInput(f"must be one of {', '.join(Job.Status.values)}", field="status")
        found = job_queries.jobs_of_team(team_pk=team.pk, status=status)
        total = found.count()
        rows = job_queries.with_cost(job_queries.with_hold(found.select_related("team")))
        body = {
            "team_id": team.team_id,
            "total_jobs": total,
            "jobs": [presenters.job_summary(job) for job in rows[page.offset : page.offset + page.limit]],
        }
        return Response(body, headers=page.links(request, total))


class TeamUsageView(ApiView):
    """GET /api/teams/{team_id}/usage"""

    permission_classes = [AnyKey]
    open_methods = frozenset({"GET"})

    @extend_schema(operation_id="get_team_usage", responses=TeamUsageOut, parameters=[PERIOD_PARAMETER])
    def get(self, request: Request, team_id: str) -> Response:
        """What a team used in a period: the jobs created in it."""
        team = tenants.team_for(principal_of(request), check_client_id(team_id, field="team_id"), scope="read")
        period = usage.parse_period(request.GET.get("period"), now=timezone.now())
        used = usage.team_usage(team_pk=team.pk, period=period)
        body = {
            "team_id": team.team_id,
            "period": period.name,
            "summary": presenters.usage_summary(used),
            "job_types": presenters.job_types_body(used.job_types),
            "direct": presenters.direct_body(used.direct),
            "budget": presenters.budget_body(budget_of(team.pk)),
            **presenters.proxy_spend_body(spend_of_team(team.pk, first=period.first_day, last=period.last_day)),
        }
        return Response(body)


class OrganizationUsageView(ApiView):
    """GET /api/organizations/{organization_id}/usage"""

    open_methods = frozenset({"GET"})

    @extend_schema(operation_id="get_organization_usage", responses=OrganizationUsageOut, parameters=[PERIOD_PARAMETER])
    def get(self, request: Request, organization_id: str) -> Response:
        """What an organization's teams used in a period."""
        organization = tenants.get_organization(check_client_id(organization_id, field="organization_id"))
        period = usage.parse_period(request.GET.get("period"), now=timezone.now())
        used = usage.organization_usage(organization_pk=organization.pk, period=period)
        body = {
            "organization_id": organization.organization_id,
            "period": period.name,
            "summary": presenters.usage_summary(used),
            "job_types": presenters.job_types_body(used.job_types),
            "direct": presenters.direct_body(used.direct),
            "teams": {team_id: presenters.totals_body(totals) for team_id, totals in sorted(used.teams.items())},
            **presenters.proxy_spend_body(
                spend_of_organization(organization.pk, first=period.first_day, last=period.last_day)
            ),
        }
        return Response(body)
