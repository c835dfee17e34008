"""Paths of jobs and usage."""

from django.urls import path

from jobs.api import calls, statements, users, views

urlpatterns = [
    path("jobs/create", views.JobCreateView.as_view()),
    path("jobs/create-and-call", calls.create_and_call),
    path("jobs/<str:job_id>", views.JobView.as_view()),
    path("jobs/<str:job_id>/llm-call", calls.llm_call),
    path("jobs/<str:job_id>/calls", views.JobCallsView.as_view()),
    path("jobs/<str:job_id>/calls/<str:call_id>", views.CallView.as_view()),
    path("jobs/<str:job_id>/complete", views.JobCompleteView.as_view()),
    path("teams/<str:team_id>/jobs", views.TeamJobsView.as_view()),
    path("teams/<str:team_id>/users", users.TeamUsersView.as_view()),
    path("teams/<str:team_id>/users/<str:user_id>", users.TeamUserView.as_view()),
    path("teams/<str:team_id>/users/<str:user_id>/usage", users.TeamUserUsageView.as_view()),
    path("teams/<str:team_id>/usage", views.TeamUsageView.as_view()),
    path("teams/<str:team_id>/statement", statements.TeamStatementView.as_view()),
    path("organizations/<str:organization_id>/statement", statements.OrganizationStatementView.as_view()),
    path("organizations/<str:organization_id>/usage", views.OrganizationUsageView.as_view()),
]
