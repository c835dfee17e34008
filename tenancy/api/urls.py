"""Paths of organizations and keys."""

from django.urls import path

from tenancy.api import views

urlpatterns = [
    path("organizations/create", views.OrganizationCreateView.as_view()),
    path("organizations/<str:organization_id>", views.OrganizationView.as_view()),
    path("teams/<str:team_id>/keys", views.TeamKeysView.as_view()),
    path("teams/<str:team_id>/keys/<uuid:key_id>/rotate", views.KeyRotateView.as_view()),
    path("teams/<str:team_id>/keys/<uuid:key_id>/revoke", views.KeyRevokeView.as_view()),
]
