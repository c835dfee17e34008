"""The admin of providers' keys: they are given and replaced here, and never shown again."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from modelgroups import queries
from modelgroups.models import ProviderCredential
from modelgroups.services import credentials
from tenancy.admin import ReadOnlyAdmin, actor_of, in_a_row, link
from tenancy.admin.forms import done, form_page
from tenancy.models import Organization
from tenancy.queries.tenants import get_organization

LIST = "admin:modelgroups_providercredential_changelist"


class PlaceAndSecretForm(forms.Form):
    """Where a key is good, and the key itself, which no answer ever holds."""

    api_base = forms.CharField(
        label="API base",
        required=False,
        max_length=1024,
        widget=UnfoldAdminTextInputWidget,
        help_text="The only address that the key is sent to; empty: the provider's own.",
    )
    secret = forms.CharField(
        max_length=16_384,
        strip=True,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="The provider's key. It is encrypted, and never shown again.",
    )


class NewCredentialForm(PlaceAndSecretForm):
    """A credential in one form."""

    name = forms.CharField(
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        help_text="What models name: letters, digits and _ . : -",
    )
    provider = forms.CharField(
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        help_text="As LiteLLM writes it, before the slash of a model's name: openai, anthropic, azure, …",
    )
    organization_id = forms.CharField(
        label="Organization",
        required=False,
        max_length=128,
        widget=UnfoldAdminTextInputWidget,
        help_text="An organization's id, whose teams' calls then use it instead of the global one; empty: global.",
    )

    field_order = ("name", "provider", "organization_id", "api_base", "secret")


@admin.register(ProviderCredential)
class ProviderCredentialAdmin(ReadOnlyAdmin):
    """Who may change one may make, replace and delete them; nobody reads one."""

    list_display = ("name", "whose", "provider", "api_base", "shown_secret", "replaced_at")
    list_filter = ("provider",)
    list_select_related = ("organization",)
    search_fields = ("name", "provider__exact", "organization__organization_id__exact", "last_four__exact")
    uuid_fields = ("id",)
    secret_fields = ("secret_encrypted",)
    ordering = ("name", "id")
    #: No bulk deletion: each is asked whether it is in use.
    actions = None
    fields = (
        "name",
        "whose",
        "provider",
        "api_base",
        "shown_secret",
        "used_by",
        "see_also",
        "created_at",
        "replaced_at",
    )
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """One permission for all of it."""
        return self.may_change(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The same."""
        return self.may_change(request)

    def get_urls(self) -> list[URLPattern]:
        """And a page to replace the secret."""
        view = self.admin_site.admin_view(self.replace_view)
        name = "modelgroups_providercredential_replace"
        return [path("<uuid:pk>/replace/", view, name=name), *super().get_urls()]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Without links to pages that would be refused."""
        return tuple(name for name in self.fields if name != "see_also" or self.may_change(request))

    @admin.display(description="For", ordering="organization__organization_id")
    def whose(self, credential: ProviderCredential) -> SafeString | str:
        """An organization, or everybody."""
        if credential.organization is None:
            return "everybody"
        return link("tenancy_organization_change", credential.organization, pk=credential.organization_id)

    @admin.display(description="Secret")
    def shown_secret(self, credential: ProviderCredential) -> str:
        """Its last four characters."""
        return f"****{credential.last_four}"

    @admin.display(description="Used by")
    def used_by(self, credential: ProviderCredential) -> str:
        """The groups whose models name it."""
        return ", ".join(queries.groups_that_name(credential.name)) or "no model yet: name it in a group's model"

    @admin.display(description="See also")
    def see_also(self, credential: ProviderCredential) -> SafeString:
        """What can be done with it, by who may."""
        return in_a_row(
            link("modelgroups_providercredential_replace", "Replace the secret", pk=credential.pk),
            link("modelgroups_providercredential_delete", "Delete", pk=credential.pk),
        )

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """A form of its own, whose secret goes to the service alone."""
        self._require(request)

        def act(form: NewCredentialForm) -> HttpResponse:
            given = dict(form.cleaned_data)
            organization_id = given.pop("organization_id")
            organization: Organization | None = get_organization(organization_id) if organization_id else None
            organization_pk = organization.pk if organization else None
            credentials.create_credential(**given, organization_pk=organization_pk, actor=actor_of(request))
            return done(request, f"Credential {given['name']} is there. Name it in a model of a group.", reverse(LIST))

        return form_page(self, request, NewCredentialForm, act, title="Add a provider's key", submit="Add the key")

    def replace_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Another secret, from the next call on."""
        self._require(request)
        credential = self._get(request, pk)

        def act(form: PlaceAndSecretForm) -> HttpResponse:
            credentials.replace_credential(
                credential_pk=credential.pk,
                api_base=form.cleaned_data["api_base"],
                secret=form.cleaned_data["secret"],
                actor=actor_of(request),
            )
            return done(request, f"The secret of {credential.name} is replaced.", reverse(LIST))

        return form_page(
            self,
            request,
            PlaceAndSecretForm,
            act,
            title=f"Replace the secret of {credential.name}",
            text=f"Calls from now on use the new one instead of ****{credential.last_four}.",
            submit="Replace",
            original=credential,
            initial={"api_base": credential.api_base},
        )

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Refused where models are left without a key."""
        self._require(request)
        credential = self._get(request, object_id)
        text = "Nobody can bring the key back."
        if credential.organization is not None:
            text = f"Calls of {credential.organization}'s teams then use the global credential of this name. {text}"

        def act(form: forms.Form) -> HttpResponse:
            credentials.delete_credential(credential_pk=credential.pk, actor=actor_of(request))
            return done(request, f"Credential {credential.name} is deleted.", reverse(LIST))

        return form_page(
            self,
            request,
            forms.Form,
            act,
            title=f"Delete credential {credential.name}?",
            text=text,
            submit="Delete",
            is_danger=True,
            original=credential,
        )

    def _require(self, request: HttpRequest) -> None:
        if not self.may_change(request):
            raise PermissionDenied

    def _get(self, request: HttpRequest, pk: object) -> ProviderCredential:
        credential = self.get_object(request, str(pk))
        if credential is None:
            raise Http404
        return credential
