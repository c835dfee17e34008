"""Providers' keys that models name: making, replacing and deleting them. The secret goes in, and never comes out."""

import re
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from config.foundation import encryption
from config.foundation.constraints import violated
from config.foundation.errors import InvalidInput
from modelgroups.errors import CredentialExists, CredentialInUse, CredentialNotFound
from modelgroups.gateway.parameters import CREDENTIAL_NAME, problem_with
from modelgroups.models import ProviderCredential
from modelgroups.queries import groups_that_name
from tenancy.services import audit

PROVIDER = re.compile(r"[a-z0-9_]{1,64}")


@transaction.atomic
def create_credential(
    *, name: str, provider: str, api_base: str, secret: str, organization_pk: int | None, actor: str
) -> ProviderCredential:
    """A global credential, or one of an organization's own. Raises CredentialExists, InvalidInput."""
    if not CREDENTIAL_NAME.fullmatch(name):
        raise InvalidInput("must be 1 to 64 letters, digits or any of _ . : -", field="name")
    if not PROVIDER.fullmatch(provider):
        raise InvalidInput("must be as LiteLLM writes it, such as openai or vertex_ai", field="provider")
    _check_place_and_secret(api_base, secret)
    same_name = ProviderCredential.objects.select_for_update(no_key=True).filter(name=name).order_by("pk")
    if any(other.provider != provider for other in same_name):
        raise InvalidInput("credentials of one name must be of one provider", field="provider")
    try:
        with transaction.atomic():
            credential = ProviderCredential.objects.create(
                name=name,
                provider=provider,
                api_base=api_base,
                secret_encrypted=encryption.encrypt(secret.encode()),
                last_four=secret[-4:],
                organization_id=organization_pk,
            )
    except IntegrityError as error:
        if violated(error) == "credential_name_is_unique":
            raise CredentialExists(name) from error
        raise
    audit.record(
        actor=actor,
        action="credential.created",
        subject=name,
        organization_pk=organization_pk,
        after={"provider": provider, "api_base": api_base, "last_four": credential.last_four},
    )
    return credential


@transaction.atomic
def replace_credential(*, credential_pk: UUID, api_base: str, secret: str, actor: str) -> ProviderCredential:
    """Another secret, from the next call on; only with it another place. Raises CredentialNotFound, InvalidInput."""
    _check_place_and_secret(api_base, secret)
    credential = _locked(credential_pk)
    before = audit.fields_of(credential, ("api_base", "last_four"))
    credential.api_base, credential.last_four = api_base, secret[-4:]
    credential.secret_encrypted = encryption.encrypt(secret.encode())
    credential.replaced_at = timezone.now()
    credential.save(update_fields=["api_base", "last_four", "secret_encrypted", "replaced_at"])
    audit.record(
        actor=actor,
        action="credential.replaced",
        subject=credential.name,
        organization_pk=credential.organization_id,
        before=before,
        after=audit.fields_of(credential, ("api_base", "last_four")),
    )
    return credential


@transaction.atomic
def delete_credential(*, credential_pk: UUID, actor: str) -> None:
    """Raises CredentialNotFound; CredentialInUse where models name it, unless it is an organization's own and a global
    one of its name takes its place.
    """
    # Locked: who gives it to a model has it locked, too, so that either sees what the other has done.
    credential = _locked(credential_pk)
    others = ProviderCredential.objects.filter(name=credential.name, organization=None).exclude(pk=credential.pk)
    if not others.exists() and (group_names := groups_that_name(credential.name)):
        raise CredentialInUse(credential.name, group_names)
    credential.delete()
    audit.record(
        actor=actor,
        action="credential.deleted",
        subject=credential.name,
        organization_pk=credential.organization_id,
        before=audit.fields_of(credential, ("provider", "api_base", "last_four")),
    )


def _locked(credential_pk: UUID) -> ProviderCredential:
    try:
        return ProviderCredential.objects.select_for_update().get(pk=credential_pk)
    except ProviderCredential.DoesNotExist:
        raise CredentialNotFound from None


def _check_place_and_secret(api_base: str, secret: str) -> None:
    if problem := problem_with("api_key", secret):
        raise InvalidInput(problem, field="secret")
    if api_base and (problem := problem_with("api_base", api_base)):
        raise InvalidInput(problem, field="api_base")
