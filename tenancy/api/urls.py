"""Paths of organizations and keys."""

from django.urls import path

from tenancy.api import limits, views, webhooks

urlpatterns = [
    path("organizations/create", views.OrganizationCreateView.as_view()),
    path("organizations/<str:organization_id>", views.OrganizationView.as_view()),
    path("teams/<str:team_id>/keys", views.TeamKeysView.as_view()),
    path("teams/<str:team_id>/limits", limits.TeamLimitsView.as_view()),
    path("teams/<str:team_id>/keys/<uuid:key_id>", views.KeyView.as_view()),
    path("teams/<str:team_id>/keys/<uuid:key_id>/rotate", views.KeyRotateView.as_view()),
    path("teams/<str:team_id>/keys/<uuid:key_id>/revoke", views.KeyRevokeView.as_view()),
    path("webhooks", webhooks.WebhooksView.as_view()),
    path("webhooks/<uuid:endpoint_id>", webhooks.WebhookDetailView.as_view()),
    path("webhooks/<uuid:endpoint_id>/rotate", webhooks.WebhookRotateView.as_view()),
    path("webhooks/<uuid:endpoint_id>/test", webhooks.WebhookTestView.as_view()),
    path("webhooks/<uuid:endpoint_id>/replay", webhooks.WebhookReplayView.as_view()),
    path("webhooks/<uuid:endpoint_id>/deliveries", webhooks.WebhookDeliveriesView.as_view()),
]
