"""The admin of organizations: here, as that of teams is, because it shows the teams' credits."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Count, F, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from billing.admin import panels
from tenancy.admin import AuditedAdmin, MetadataField, actor_of, link
from tenancy.admin.forms import ClientIdField, ConsoleForm, done, form_page
from tenancy.admin.status import StatusForm, status_page
from tenancy.models import AuditEntry, Organization
from tenancy.services.organizations import create_organization
from tenancy.services.suspension import set_organization_status


class CreateOrganizationForm(ConsoleForm):
    """What POST /api/organizations/create takes."""

    organization_id = ClientIdField(
        label="Organization ID", help_text="As the API is to name it. It cannot be changed."
    )
    name = forms.CharField(max_length=255, widget=UnfoldAdminTextInputWidget)
    metadata = MetadataField(
        required=False, initial=dict, widget=UnfoldAdminTextareaWidget({"rows": 3}), help_text="A JSON object."
    )


@admin.register(Organization)
class OrganizationAdmin(AuditedAdmin):
    """Name, recipients and metadata can be edited; suspending, which stops all keys of all teams, is an action."""

    list_display = ("organization_id", "name", "status", "created_at")
    list_filter = ("status",)
    search_fields = ("organization_id", "name")
    date_hierarchy = "created_at"
    fields = ("organization_id", "name", "status", "alert_emails", "metadata", "all_teams", "created_at", "updated_at")
    readonly_fields = ("organization_id", "status", "all_teams", "created_at", "updated_at")
    actions_list = ("create_organization",)
    actions_detail = ("create_team", "change_status")
    audit_word = "organization"

    def audit_owner(self, obj: Organization) -> dict[str, int]:
        """Itself."""
        return {"organization_pk": obj.pk}

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], **options: Any) -> HttpResponse:
        """With the tables above the form, of which the user sees what he may."""
        organization: Organization = options["obj"]
        may = request.user.has_perm
        sees_teams = may("tenancy.view_team") and may("billing.view_creditaccount")
        shown = []
        if sees_teams:
            whole = link("tenancy_team_changelist", "All teams", organization__id__exact=organization.pk)
            shown.append(panels.Panel("teams", "Teams", panels.teams_of(organization), whole))
        if may("billing.view_ledgerentry"):
            statements = panels.statements_of("console_organization_statement", organization.pk)
            shown.append(panels.Panel("statements", "Statements", statements))
        if may("tenancy.view_auditentry"):
            entries = AuditEntry.objects.filter(organization=organization)
            whole = link("tenancy_auditentry_changelist", "The whole history", organization__id__exact=organization.pk)
            shown.append(panels.Panel("history", "History", panels.history_of(entries), whole))
        context |= {
            "cards": _cards(organization) if sees_teams else [],
            "panels": shown,
            "tabs": panels.as_tabs(shown),
        }
        return super().render_change_form(request, context, **options)

    @admin.display(description="Teams")
    def all_teams(self, organization: Organization) -> SafeString:
        """A link to their list."""
        return link("tenancy_team_changelist", "All teams", organization__id__exact=organization.pk)

    def has_open_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For opening an organization."""
        return request.user.has_perm("tenancy.add_organization")

    def has_open_team_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For opening a team."""
        return request.user.has_perm("tenancy.add_team")

    def has_suspend_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For suspending and resuming."""
        return request.user.has_perm("tenancy.suspend_team")

    @action(description="Create an organization", url_path="create", permissions=["open"], icon="add")
    def create_organization(self, request: HttpRequest) -> HttpResponse:
        """As POST /api/organizations/create does."""

        def act(form: CreateOrganizationForm) -> HttpResponse:
            fields = {name: value for name, value in form.cleaned_data.items() if name != "token"}
            made = form.once(request, lambda: create_organization(**fields, actor=actor_of(request)))
            if made is None:
                return HttpResponseRedirect(reverse("admin:tenancy_organization_changelist"))
            return done(request, f"Organization {made} is there. Its teams come next.", page_of(made))

        title = "Create an organization"
        return form_page(self, request, CreateOrganizationForm, act, title=title, submit="Create")

    @action(description="Create a team", url_path="create-team", permissions=["open_team"], icon="add")
    def create_team(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The form of a team, with the organization filled in."""
        organization = self.found(request, object_id)
        query = urlencode({"organization": organization.organization_id})
        return HttpResponseRedirect(f"{reverse('admin:tenancy_team_create_team')}?{query}")

    @action(description="Suspend or resume", url_path="status", permissions=["suspend"], icon="pause_circle")
    def change_status(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """All keys of all its teams stop at once, or work again."""
        organization = self.found(request, object_id)

        def act(form: StatusForm) -> HttpResponse:
            status = form.cleaned_data["status"]
            changed = set_organization_status(
                organization_id=organization.organization_id,
                status=status,
                reason=form.cleaned_data["reason"],
                actor=actor_of(request),
            )
            text = f"Organization {organization} is {status}." if changed else f"It was {status} already."
            return done(request, text, page_of(organization))

        return status_page(self, request, organization, act, what=f"organization {organization}, with all its teams")

    def found(self, request: HttpRequest, object_id: str) -> Organization:
        """The organization of a page. Raises Http404."""
        organization = self.get_object(request, unquote(object_id))
        if organization is None:
            raise Http404
        return organization


def page_of(organization: Organization) -> str:
    """The organization's page."""
    return reverse("admin:tenancy_organization_change", args=[organization.pk])


def _cards(organization: Organization) -> list[tuple[str, str]]:
    """Its teams' credits, together."""
    account = "credit_account__"
    sums = organization.teams.aggregate(
        teams=Count("id"),
        allocated=Sum(f"{account}allocated"),
        used=Sum(f"{account}used"),
        held=Sum(f"{account}held"),
        remaining=Sum(F(f"{account}allocated") - F(f"{account}used")),
    )
    words = {"teams": "Teams", "remaining": "Left", "held": "Held", "used": "Used", "allocated": "Allocated"}
    return [(word, f"{sums[name] or 0:,}") for name, word in words.items()]
