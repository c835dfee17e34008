"""What can be done to a team in the console. Each action is a form that is sent, and one call to a service."""

from typing import Any

from django.contrib.admin.utils import unquote
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold import admin as unfold
from unfold.decorators import action

from billing.admin.team_forms import (
    AssignGroupsForm,
    CorrectForm,
    CreateTeamForm,
    RefillPolicyForm,
    TopUpForm,
)
from billing.ledger import GrantTerms
from billing.models import RefillPolicy
from billing.services.credits import add_credits, adjust_credits
from billing.services.refill_policies import PolicyTerms, set_refill_policy
from billing.services.teams import open_team
from modelgroups.services.groups import assign_groups
from tenancy.admin import actor_of
from tenancy.admin.forms import done, form_page, key_page
from tenancy.admin.key_forms import KeyForm
from tenancy.admin.status import StatusForm, status_page
from tenancy.models import Team
from tenancy.services.keys import create_virtual_key
from tenancy.services.suspension import set_team_status

CREDITS = "billing.top_up_creditaccount"


def page_of(team: Team) -> str:
    """The team's page."""
    return reverse("admin:tenancy_team_change", args=[team.pk])


class TeamActions(unfold.ModelAdmin):
    """Opening, suspending and resuming a team; its keys and groups."""

    def has_open_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For opening a team. Methods, because Unfold would look for a permission's name in the database at start."""
        return request.user.has_perm("tenancy.add_team")

    def has_suspend_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For suspending and resuming."""
        return request.user.has_perm("tenancy.suspend_team")

    def has_keys_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For making, rotating and revoking keys."""
        return request.user.has_perm("tenancy.change_virtualkey")

    def has_groups_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For assigning model groups."""
        return request.user.has_perm("modelgroups.assign_modelgroup")

    def found(self, request: HttpRequest, object_id: str) -> Team:
        """The team of a page. Raises Http404."""
        team = self.get_object(request, unquote(object_id))
        if team is None:
            raise Http404
        return team

    @action(description="Create a team", url_path="create", permissions=["open"], icon="add")
    def create_team(self, request: HttpRequest) -> HttpResponse:
        """As POST /api/teams/create does: team, credits, groups and the first key, or nothing."""

        def act(form: CreateTeamForm) -> HttpResponse:
            fields = {name: value for name, value in form.cleaned_data.items() if name != "token"}
            opened = form.once(request, lambda: open_team(**fields, actor=actor_of(request)))
            if opened is None:
                return HttpResponseRedirect(reverse("admin:tenancy_team_changelist"))
            team = opened.overview.team
            return key_page(self, request, key=opened.key.plaintext, title="The team is open", team=team)

        return form_page(
            self,
            request,
            CreateTeamForm,
            act,
            title="Create a team",
            text="It gets its first key at once, which is shown once.",
            submit="Create",
            initial={"organization_id": request.GET.get("organization", "")[:128]},
        )

    @action(description="Suspend or resume", url_path="status", permissions=["suspend"], icon="pause_circle")
    def change_status(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Its keys stop at once, or work again."""
        team = self.found(request, object_id)

        def act(form: StatusForm) -> HttpResponse:
            status = form.cleaned_data["status"]
            changed = set_team_status(
                team_id=team.team_id, status=status, reason=form.cleaned_data["reason"], actor=actor_of(request)
            )
            text = f"Team {team.team_id} is {status}." if changed else f"Team {team.team_id} was {status} already."
            return done(request, text, page_of(team))

        return status_page(self, request, team, act, what=f"team {team.team_id}")

    @action(description="Create a key", url_path="create-key", permissions=["keys"], icon="key")
    def create_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A further key; the others go on working."""
        team = self.found(request, object_id)

        def act(form: KeyForm) -> HttpResponse:
            name = form.cleaned_data["name"]
            new = form.once(
                request, lambda: create_virtual_key(team=team, name=name, terms=form.terms, actor=actor_of(request))
            )
            if new is None:
                return HttpResponseRedirect(page_of(team))
            return key_page(self, request, key=new.plaintext, title="The key is made", team=team)

        text = "The team's other keys go on working."
        title = f"Create a key for team {team.team_id}"
        return form_page(self, request, KeyForm, act, title=title, text=text, submit="Create", original=team)

    @action(
        description="Model groups",
        url_path="groups",
        permissions=["groups"],
        icon="account_tree",
    )
    def assign_groups(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Which models it may use."""
        team = self.found(request, object_id)

        def act(form: AssignGroupsForm) -> HttpResponse:
            assign_groups(
                team_pk=team.pk,
                group_names=form.cleaned_data["model_groups"],
                actor=actor_of(request),
                reason=form.cleaned_data["reason"],
            )
            return done(request, f"Team {team.team_id} has these model groups now.", page_of(team))

        return form_page(
            self,
            request,
            AssignGroupsForm,
            act,
            title=f"Model groups of team {team.team_id}",
            text="The team may use those that are ticked, and no others. A team without any may call nothing.",
            submit="Assign",
            original=team,
            team=team,
        )


class CreditActions(TeamActions):
    """Moving a team's credits: by entries of the ledger, never by editing a balance."""

    def has_credits_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For everything that moves credits."""
        return request.user.has_perm(CREDITS)

    @action(description="Top up", url_path="top-up", permissions=["credits"], icon="add_card")
    def top_up(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Add credits."""
        team = self.found(request, object_id)

        def act(form: TopUpForm) -> HttpResponse:
            fields = form.cleaned_data
            change = form.once(
                request,
                lambda: add_credits(
                    team_pk=team.pk,
                    amount=fields["amount"],
                    reason=fields["reason"],
                    metadata={},
                    actor=actor_of(request),
                    terms=GrantTerms(fields["kind"], form.expires_at),
                ),
            )
            if change is None:
                return HttpResponseRedirect(page_of(team))
            text = f"{change.entry.amount} credits were added; {change.account.remaining} are left."
            return done(request, text, page_of(team))

        title = f"Top up team {team.team_id}"
        return form_page(self, request, TopUpForm, act, title=title, submit="Add credits", original=team)

    @action(description="Correct", url_path="correct", permissions=["credits"], icon="build")
    def correct(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Correct the balance by a further entry."""
        team = self.found(request, object_id)

        def act(form: CorrectForm) -> HttpResponse:
            fields = form.cleaned_data
            entry = adjust_credits(
                team_id=team.team_id,
                amount=fields["amount"],
                reason=fields["reason"],
                key=str(fields["token"]),
                actor=actor_of(request),
            )
            text = "This was done already. Nothing was done again."
            if entry is not None:
                text = f"Corrected by {entry.amount:+d} credits; {entry.balance_after} are left."
            return done(request, text, page_of(team))

        return form_page(
            self,
            request,
            CorrectForm,
            act,
            title=f"Correct the credits of team {team.team_id}",
            text="The ledger gets a further entry. Nothing in it is changed or deleted.",
            submit="Correct",
            is_danger=True,
            original=team,
        )

    @action(description="Refill policy", url_path="refill-policy", permissions=["credits"], icon="autorenew")
    def refill_policy(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """When it is refilled by itself."""
        team = self.found(request, object_id)

        def act(form: RefillPolicyForm) -> HttpResponse:
            terms = PolicyTerms(**{name: form.cleaned_data[name] for name in form.TERMS})
            set_refill_policy(team_pk=team.pk, terms=terms, actor=actor_of(request))
            return done(request, f"The refill policy of team {team.team_id} is set.", page_of(team))

        return form_page(
            self,
            request,
            RefillPolicyForm,
            act,
            title=f"Refill policy of team {team.team_id}",
            text="A policy that is enabled refills for the current period within a minute.",
            submit="Set",
            original=team,
            initial=_terms_of(team),
        )


def _terms_of(team: Team) -> dict[str, Any]:
    """As they are now, for the form."""
    policy = RefillPolicy.objects.select_related("account").filter(pk=team.pk).first()
    if policy is None:
        return {"is_enabled": True, "every": "month"}
    names = [name for name in RefillPolicyForm.TERMS if name != "credit_limit"]
    return {**{name: getattr(policy, name) for name in names}, "credit_limit": policy.account.credit_limit}
