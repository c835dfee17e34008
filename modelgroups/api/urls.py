"""Paths of model groups."""

from django.urls import path

from modelgroups.api import views

urlpatterns = [
    path("model-groups", views.ModelGroupListView.as_view()),
    path("model-groups/create", views.ModelGroupCreateView.as_view()),
    path("model-groups/<str:group_name>", views.ModelGroupView.as_view()),
    path("model-groups/<str:group_name>/models", views.GroupModelsView.as_view()),
    path("model-groups/<str:group_name>/resolve", views.ResolveView.as_view()),
    path("teams/<str:team_id>/model-groups", views.TeamModelGroupsView.as_view()),
]
