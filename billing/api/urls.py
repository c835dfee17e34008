"""Paths of teams and credits."""

from django.urls import path

from billing.api import refills, views

urlpatterns = [
    path("organizations/<str:organization_id>/teams", views.OrganizationTeamsView.as_view()),
    path("teams/create", views.TeamCreateView.as_view()),
    path("teams/<str:team_id>", views.TeamView.as_view()),
    path("credits/teams/<str:team_id>/balance", views.BalanceView.as_view()),
    path("credits/teams/<str:team_id>/add", views.AddCreditsView.as_view()),
    path("credits/teams/<str:team_id>/check", views.CheckCreditsView.as_view()),
    path("credits/teams/<str:team_id>/refill-policy", refills.RefillPolicyView.as_view()),
    path("credits/teams/<str:team_id>/transactions", views.TransactionsView.as_view()),
]
