"""Refusals about model groups. The texts are the guide's where it prints one."""

from config.foundation.errors import DomainError
from tenancy.errors import NotFound


class ModelGroupNotFound(NotFound):
    """No group has this name."""

    def __init__(self, group_name: str) -> None:
        super().__init__(f"Model group '{group_name}' not found")


class ModelGroupExists(DomainError):
    """The name is taken."""

    code = "model_group_exists"

    def __init__(self, group_name: str) -> None:
        super().__init__(f"Model group '{group_name}' already exists")


class ModelGroupInUse(DomainError):
    """A group that is assigned to a team cannot be deleted."""

    code = "model_group_in_use"

    def __init__(self, group_name: str, teams: int) -> None:
        super().__init__(f"Model group '{group_name}' is assigned to {teams} team(s); unassign it first")


class ModelGroupAccessDenied(DomainError):
    """The group is not assigned to the team, is inactive, or does not exist: one answer for all three."""

    code = "model_group_access_denied"

    def __init__(self, team_id: str, group_name: str) -> None:
        super().__init__(f"Team '{team_id}' does not have access to model group '{group_name}'")


class ModelPriceUnknown(DomainError):
    """A model nobody has a price for would count as $0 in silence (contract, "Money")."""

    code = "model_price_unknown"

    def __init__(self, model_name: str) -> None:
        super().__init__(
            f"Model '{model_name}' has no known price: give input_cost_per_token and output_cost_per_token "
            "in its config (0 marks it free)"
        )


class CredentialNotFound(NotFound):
    """No credential has this id."""

    def __init__(self) -> None:
        super().__init__("Credential not found")


class CredentialExists(DomainError):
    """The name is taken, in this organization or globally."""

    code = "credential_exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"Credential '{name}' already exists there; replace its secret instead")


class CredentialInUse(DomainError):
    """Models name it, and no other would take its place."""

    code = "credential_in_use"

    def __init__(self, name: str, group_names: list[str]) -> None:
        named = ", ".join(group_names[:10]) + (", …" if len(group_names) > 10 else "")
        super().__init__(f"Credential '{name}' is used by models of {named}; give them another one first")
