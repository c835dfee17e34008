"""Every path there is."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect
from django.templatetags.static import static
from django.urls import include, path, reverse
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from config.console import tenants
from config.health import health


def to_the_console(request: HttpRequest, extra_context: object = None) -> HttpResponseRedirect:
    """Where the admin's own log-in would be, for those who are logged in: it knows no second factor and no limit."""
    return HttpResponseRedirect(reverse("admin:index"))


# The others go to allauth's: https://docs.allauth.org/en/latest/common/admin.html
admin.site.login = secure_admin_login(to_the_console)  # type: ignore[method-assign]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="docs")),
    # What browsers ask for on pages that name none.
    path("favicon.ico", RedirectView.as_view(url=static("console/favicon.svg"))),
    path("health", health, name="health"),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("api/", include("tenancy.api.urls")),
    path("api/", include("modelgroups.api.urls")),
    path("api/", include("billing.api.urls")),
    path("api/", include("jobs.api.urls")),
    path("accounts/", include("config.console.urls")),
    # The guide's base URL for OpenAI's clients has no /v1, most others have.
    path("v1/", include("jobs.api.openai.urls")),
    path("", include("jobs.api.openai.urls")),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/teams/<int:pk>/usage/", tenants.usage_of_team, name="console_team_usage"),
    path("admin/teams/<int:pk>/statement/", tenants.statement_of_team, name="console_team_statement"),
    path("admin/organizations/<int:pk>/usage/", tenants.usage_of_organization, name="console_organization_usage"),
    path(
        "admin/organizations/<int:pk>/statement/",
        tenants.statement_of_organization,
        name="console_organization_statement",
    ),
    path("admin/", admin.site.urls),
]

handler400 = "config.errors.bad_request"
handler404 = "config.errors.not_found"
handler500 = "config.errors.server_error"
