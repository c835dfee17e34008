"""OpenAI's paths; config/urls.py has them twice."""

from django.urls import path

from jobs.api.openai import models, views

urlpatterns = [
    path("chat/completions", views.chat_completions),
    path("completions", views.completions),
    path("embeddings", views.embeddings),
    path("responses", views.responses),
    path("models", models.ModelListView.as_view()),
    path("models/<path:model>", models.ModelView.as_view()),
]
